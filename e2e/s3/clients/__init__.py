"""The clients of the matrix, each behind the same calls."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
DEADLINE_SECONDS = 900


class Failed(Exception):
    """A client did not do what it was asked."""


class Client:
    """A client with a home directory of its own, so that nobody's settings matter."""

    name = ""
    # Whether a second synchronisation is expected to find out by itself that there is nothing to do.
    syncs = False
    # Whether an upload in parts goes on where it broke; otherwise it begins anew and clears what it left.
    resumes = True

    def __init__(self, access, home):
        self.access = access
        self.home = home
        home.mkdir(parents=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": access["access_key"],
            "AWS_SECRET_ACCESS_KEY": access["secret_key"],
            "AWS_DEFAULT_REGION": access["region"],
            "AWS_REGION": access["region"],
        }

    def started(self, endpoint, *arguments):
        """The process of one command; the endpoint may be another way to the gateway."""
        command, environment = self.command(endpoint, *arguments)
        return subprocess.Popen(
            command,
            env={**self.environment, **environment},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def run(self, *arguments, endpoint=None):
        """Runs one command; answers what it printed."""
        process = self.started(endpoint or self.access["endpoint"], *arguments)
        try:
            out, err = process.communicate(timeout=DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise Failed(f"{' '.join(arguments)}: not done after {DEADLINE_SECONDS} s") from None
        if process.returncode != 0:
            said = (err or out).decode(errors="replace").strip()
            raise Failed(f"{' '.join(map(str, arguments))}: exit code {process.returncode}: {said[-600:]}")
        return out


class Library(Client):
    """A library: a program of ours around it, one command a run."""

    def __init__(self, access, home, name, program):
        super().__init__(access, home)
        self.name = name
        self.program = program

    def command(self, endpoint, *arguments):
        """See `started`."""
        return [*self.program, *map(str, arguments)], {"S3_ENDPOINT": endpoint}

    def ask(self, *arguments, endpoint=None):
        """Runs one command of the program; answers its JSON."""
        return json.loads(self.run(*arguments, endpoint=endpoint))

    def version(self):
        return self.ask("version")["version"]

    def make_bucket(self, bucket):
        return self.ask("make-bucket", bucket)["buckets"]

    def sync_up(self, directory, bucket):
        self.ask("upload-tree", directory, bucket)

    def sizes(self, bucket):
        return self.ask("list", bucket)["sizes"]

    def sync_down(self, bucket, directory):
        self.ask("download-tree", bucket, directory)

    def upload(self, endpoint, file, bucket, key):
        return self.started(endpoint, "upload", file, bucket, key)

    def complete(self, endpoint, file, bucket, key):
        return self.ask("complete", file, bucket, key, endpoint=endpoint)

    def read_range(self, bucket, key, first, last, file, whole):
        self.ask("range", bucket, key, first, last, file)
        return file.read_bytes() == whole[first : last + 1]

    def presign(self, method, bucket, key):
        return self.ask("presign", method, bucket, key)["url"]

    def checksums(self, file, bucket, key):
        answer = self.ask("checksums", file, bucket, key)
        return answer["equal"], len(answer["equal"]) == answer["wanted"]

    def delete(self, bucket, key):
        return self.ask("delete", bucket, key)["gone"]

    def remove_bucket(self, bucket):
        return self.ask("remove-bucket", bucket)["buckets"]


def libraries():
    """How to make the clients that are libraries."""
    python = sys.executable

    def javascript(access, home):
        # Node looks for modules beside the program.
        modules = pathlib.Path(os.environ["ARION_S3_NODE_MODULES"])
        program = modules.with_name("sdk.mjs")
        shutil.copyfile(HERE / "sdk.mjs", program)
        return Library(access, home, "aws-sdk-js", ["node", program])

    return {
        "boto3": lambda access, home: Library(access, home, "boto3", [python, HERE / "python_boto3.py"]),
        "minio-py": lambda access, home: Library(access, home, "minio-py", [python, HERE / "python_minio.py"]),
        "aws-sdk-js": javascript,
    }
