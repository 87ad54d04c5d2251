"""Clients that are programs: aws CLI, rclone, s3cmd."""

import hashlib
import json
import pathlib
import re
import sys

from clients import Client, Failed

PART_BYTES = 5 << 20


def md5(path):
    """Hex."""
    return hashlib.md5(path.read_bytes()).hexdigest()


class AwsCli(Client):
    """The AWS command line of the first generation, from PyPI."""

    name = "aws-cli"
    syncs = True

    def __init__(self, access, home):
        super().__init__(access, home)
        # Nothing but the size and number of parts, so that the upload breaks where it is looked for.
        (home / "parts").write_text(
            "[default]\ns3 =\n  multipart_threshold = 5MB\n  multipart_chunksize = 5MB\n  max_concurrent_requests = 1\n"
        )
        self.aws = str(pathlib.Path(sys.executable).with_name("aws"))

    def command(self, endpoint, *arguments):
        """See `started`."""
        settings = {"AWS_CONFIG_FILE": str(self.home / "parts")} if arguments[:2] == ("s3", "cp") else {}
        return [self.aws, "--endpoint-url", endpoint, *map(str, arguments)], settings

    def api(self, *arguments, endpoint=None):
        """`aws s3api`, which prints JSON or nothing."""
        return json.loads(self.run("s3api", *arguments, endpoint=endpoint) or b"{}")

    def version(self):
        return self.run("--version").decode().split()[0].replace("/", " ")

    def make_bucket(self, bucket):
        self.run("s3", "mb", f"s3://{bucket}")
        return [line.split()[-1] for line in self.run("s3", "ls").decode().splitlines()]

    def sync_up(self, directory, bucket):
        return self.run("s3", "sync", "--no-progress", directory, f"s3://{bucket}").decode().splitlines()

    def sizes(self, bucket):
        answer = self.api("list-objects-v2", "--bucket", bucket, "--page-size", "100")
        return {entry["Key"]: entry["Size"] for entry in answer.get("Contents", [])}

    def sync_down(self, bucket, directory):
        self.run("s3", "sync", "--no-progress", f"s3://{bucket}", directory)

    def upload(self, endpoint, file, bucket, key):
        return self.started(endpoint, "s3", "cp", "--no-progress", file, f"s3://{bucket}/{key}")

    def complete(self, endpoint, file, bucket, key):
        def api(*arguments):
            return self.api(*arguments, endpoint=endpoint)

        (upload,) = api("list-multipart-uploads", "--bucket", bucket, "--prefix", key)["Uploads"]
        target = ["--bucket", bucket, "--key", key, "--upload-id", upload["UploadId"]]
        there = {part["PartNumber"]: part["ETag"] for part in api("list-parts", *target).get("Parts", [])}
        parts = []
        body = self.home / "part"
        with open(file, "rb") as source:
            for number, data in enumerate(iter(lambda: source.read(PART_BYTES), b""), 1):
                etag = there.get(number)
                if etag is None:
                    body.write_bytes(data)
                    etag = api("upload-part", *target, "--part-number", number, "--body", body)["ETag"]
                parts.append({"PartNumber": number, "ETag": etag})
        wanted = json.dumps({"Parts": parts})
        api("complete-multipart-upload", *target, "--multipart-upload", wanted)
        return {"kept": len(there), "sent": len(parts) - len(there)}

    def read_range(self, bucket, key, first, last, file, whole):
        wanted = ["--bucket", bucket, "--key", key, "--range", f"bytes={first}-{last}"]
        self.api("get-object", *wanted, file)
        return file.read_bytes() == whole[first : last + 1]

    def presign(self, method, bucket, key):
        # The tool signs links for reading only.
        if method != "GET":
            return None
        return self.run("s3", "presign", f"s3://{bucket}/{key}", "--expires-in", "300").decode().strip()

    def checksums(self, file, bucket, key):
        target = ["--bucket", bucket, "--key", key]
        equal = []
        for algorithm in ["CRC32", "SHA1", "SHA256"]:
            put = self.api("put-object", *target, "--body", file, "--checksum-algorithm", algorithm)
            head = self.api("head-object", *target, "--checksum-mode", "ENABLED")
            if put[f"Checksum{algorithm}"] == head[f"Checksum{algorithm}"]:
                equal.append(algorithm)
        back = self.home / "checked"
        self.api("get-object", *target, "--checksum-mode", "ENABLED", back)
        return equal, len(equal) == 3 and md5(back) == md5(file)

    def delete(self, bucket, key):
        self.run("s3", "rm", f"s3://{bucket}/{key}")
        try:
            self.api("head-object", "--bucket", bucket, "--key", key)
        except Failed as error:
            return "404" in str(error)
        return False

    def remove_bucket(self, bucket):
        self.run("s3", "rb", "--force", f"s3://{bucket}")
        return [line.split()[-1] for line in self.run("s3", "ls").decode().splitlines()]


class Rclone(Client):
    """rclone of Debian. It does not go on with an upload in parts; it begins anew and can clear what it left."""

    name = "rclone"
    syncs = True
    resumes = False

    def command(self, endpoint, *arguments):
        """See `started`."""
        settings = {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ACCESS_KEY_ID": self.access["access_key"],
            "SECRET_ACCESS_KEY": self.access["secret_key"],
            "REGION": self.access["region"],
            "ENDPOINT": endpoint,
        }
        environment = {f"RCLONE_CONFIG_ARION_{name}": value for name, value in settings.items()}
        return ["rclone", *map(str, arguments)], environment

    def version(self):
        return self.run("version").decode().splitlines()[0]

    def buckets(self):
        """Names of all."""
        return [line.rstrip("/") for line in self.run("lsf", "arion:").decode().splitlines()]

    def make_bucket(self, bucket):
        self.run("mkdir", f"arion:{bucket}")
        return self.buckets()

    def sync_up(self, directory, bucket):
        self.run("sync", "--transfers", "8", directory, f"arion:{bucket}")
        # What a second run would copy.
        said = self.run("check", "--one-way", "--differ", "-", "--missing-on-dst", "-", directory, f"arion:{bucket}")
        return said.decode().splitlines()

    def sizes(self, bucket):
        entries = json.loads(self.run("lsjson", "-R", "--files-only", "--s3-list-chunk", "100", f"arion:{bucket}"))
        return {entry["Path"]: entry["Size"] for entry in entries}

    def sync_down(self, bucket, directory):
        self.run("sync", "--transfers", "8", f"arion:{bucket}", directory)

    def upload(self, endpoint, file, bucket, key):
        parts = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M", "--s3-upload-concurrency", "1"]
        return self.started(endpoint, "copyto", *parts, file, f"arion:{bucket}/{key}")

    def complete(self, endpoint, file, bucket, key):
        parts = ["--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M"]
        self.run("copyto", *parts, file, f"arion:{bucket}/{key}", endpoint=endpoint)
        listed = json.loads(self.run("backend", "list-multipart-uploads", f"arion:{bucket}"))
        left = len(listed[bucket])
        self.run("backend", "cleanup", f"arion:{bucket}", "-o", "max-age=0s")
        listed = json.loads(self.run("backend", "list-multipart-uploads", f"arion:{bucket}"))
        return {"left": left, "cleared": left - len(listed[bucket] or [])}

    def read_range(self, bucket, key, first, last, file, whole):
        count = last - first + 1
        body = self.run("cat", "--offset", first, "--count", count, f"arion:{bucket}/{key}")
        return body == whole[first : last + 1]

    def presign(self, method, bucket, key):
        if method != "GET":
            return None
        return self.run("link", "--expire", "5m", f"arion:{bucket}/{key}").decode().strip()

    def checksums(self, file, bucket, key):
        self.run("copyto", file, f"arion:{bucket}/{key}")
        said = self.run("md5sum", f"arion:{bucket}/{key}").decode().split()[0]
        return ["MD5"], said == md5(file)

    def delete(self, bucket, key):
        self.run("deletefile", f"arion:{bucket}/{key}")
        try:
            self.run("deletefile", f"arion:{bucket}/{key}")
        except Failed as error:
            return "not found" in str(error)
        return False

    def remove_bucket(self, bucket):
        self.run("purge", f"arion:{bucket}")
        return self.buckets()


class S3cmd(Client):
    """s3cmd."""

    name = "s3cmd"
    syncs = True

    def command(self, endpoint, *arguments):
        """See `started`."""
        host = endpoint.removeprefix("http://")
        config = self.home / f"s3cfg-{host.replace(':', '-')}"
        settings = {
            "access_key": self.access["access_key"],
            "secret_key": self.access["secret_key"],
            "host_base": host,
            "host_bucket": host,
            "bucket_location": self.access["region"],
            "use_https": "False",
            "multipart_chunk_size_mb": "5",
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        config.write_text("\n".join(["[default]", *lines, ""]))
        program = pathlib.Path(sys.executable).with_name("s3cmd")
        return [str(program), "--config", str(config), "--no-progress", *map(str, arguments)], {}

    def version(self):
        return self.run("--version").decode().strip().replace(" version", "")

    def buckets(self):
        """Names of all."""
        return [line.split("s3://")[-1] for line in self.run("ls").decode().splitlines()]

    def make_bucket(self, bucket):
        self.run("mb", f"s3://{bucket}")
        return self.buckets()

    def sync_up(self, directory, bucket):
        said = self.run("sync", f"{directory}/", f"s3://{bucket}/").decode().splitlines()
        return [line for line in said if line.startswith("upload:")]

    def sizes(self, bucket):
        lines = self.run("ls", "--recursive", f"s3://{bucket}").decode().splitlines()
        found = (re.fullmatch(rf"\S+ \S+ +(\d+) +s3://{bucket}/(.*)", line) for line in lines)
        return {match[2]: int(match[1]) for match in found if match}

    def sync_down(self, bucket, directory):
        self.run("sync", f"s3://{bucket}/", f"{directory}/")

    def upload(self, endpoint, file, bucket, key):
        return self.started(endpoint, "put", file, f"s3://{bucket}/{key}")

    def complete(self, endpoint, file, bucket, key):
        lines = self.run("multipart", f"s3://{bucket}").decode().splitlines()
        (upload,) = (line.split()[-1] for line in lines if f"s3://{bucket}/{key}" in line)
        target = f"s3://{bucket}/{key}"
        parts = self.run("listmp", target, upload).decode().splitlines()
        kept = sum(1 for line in parts if re.search(r"\b5242880\b", line))
        self.run("put", "--continue-put", f"--upload-id={upload}", file, target, endpoint=endpoint)
        return {"kept": kept, "sent": -(-file.stat().st_size // PART_BYTES) - kept}

    def read_range(self, bucket, key, first, last, file, whole):
        # Its only reading of a range: the rest of a file that is there in part.
        file.write_bytes(whole[:first])
        self.run("get", "--continue", f"s3://{bucket}/{key}", file)
        return file.read_bytes() == whole

    def presign(self, method, bucket, key):
        if method != "GET":
            return None
        return self.run("signurl", f"s3://{bucket}/{key}", "+300").decode().strip()

    def checksums(self, file, bucket, key):
        self.run("put", file, f"s3://{bucket}/{key}")
        said = self.run("info", f"s3://{bucket}/{key}").decode()
        return ["MD5"], md5(file) in said

    def delete(self, bucket, key):
        self.run("del", f"s3://{bucket}/{key}")
        try:
            self.run("info", f"s3://{bucket}/{key}")
        except Failed as error:
            return "404" in str(error)
        return False

    def remove_bucket(self, bucket):
        self.run("rb", "--recursive", "--force", f"s3://{bucket}")
        return self.buckets()


TOOLS = {"aws-cli": AwsCli, "rclone": Rclone, "s3cmd": S3cmd}
