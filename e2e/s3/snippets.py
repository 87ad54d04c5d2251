"""Runs the snippets of docs/use as they are printed there.

A fenced block whose first line is "```sh run", "```python run" or "```js run" is executed, one whose first line has
`file=PATH` is written to that file first. The blocks of a page share a home directory, which they run in, and what shell
blocks export. The endpoint and the keys that the pages use are replaced by those of the environment. Prints a line for
each snippet; the last line is `snippets: P passed, F failed`.

`--control` proves that a broken snippet is found: a page with snippets that fail has to fail, one that works has to pass.

Environment: S3_ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, ARION_S3_NODE_MODULES, ARION_BIN.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

FENCE = re.compile(r"^```(\S+) (.*)$")
DEADLINE_SECONDS = 300
# What the pages say: what is meant.
WORDS = {
    "http://127.0.0.1:7800": "S3_ENDPOINT",
    "YOUR_ACCESS_KEY": "AWS_ACCESS_KEY_ID",
    "YOUR_SECRET_KEY": "AWS_SECRET_ACCESS_KEY",
}


def blocks(text):
    """Line, language, words behind it, and body of each fenced block that has words."""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        if not line.startswith("```"):
            continue
        opened = FENCE.match(line)
        body = []
        for _, inner in lines:
            if inner.startswith("```"):
                break
            body.append(inner)
        if opened:
            yield number, opened[1], opened[2].split(), "\n".join(body) + "\n"


def meant(text):
    """With the endpoint and the keys of this run."""
    for word, name in WORDS.items():
        text = text.replace(word, os.environ[name])
    return text


class Page:
    """A page and the home its snippets share."""

    def __init__(self, name, home):
        self.name, self.home = name, home
        self.exported = home / ".exported"
        self.exported.write_text("")
        modules = pathlib.Path(os.environ["ARION_S3_NODE_MODULES"])
        # Node looks for modules in the directories above the program.
        (home / "node_modules").symlink_to(modules)
        tools = [os.environ["ARION_BIN"], str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]
        self.environment = {"PATH": ":".join(tools), "HOME": str(home), "LC_ALL": "C.UTF-8", "TERM": "dumb"}

    def write(self, path, body):
        """A file that the page shows."""
        file = pathlib.Path(path.replace("~", str(self.home), 1))
        file = file if file.is_absolute() else self.home / file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(body)
        # Some hold a secret.
        file.chmod(0o600)

    def run(self, language, body):
        """Exit code and output of a snippet."""
        script = self.home / {"sh": ".snippet.sh", "python": ".snippet.py", "js": ".snippet.mjs"}[language]
        program = {"sh": "bash", "python": sys.executable, "js": "node"}[language]
        if language == "sh":
            body = f"set -euo pipefail\n. {self.exported}\n{body}export -p >{self.exported}\n"
        script.write_text(body)
        # What shell blocks exported holds for the others, too.
        command = ["bash", "-c", f'. "{self.exported}"; exec "$@"', "snippet", program, str(script)]
        done = subprocess.run(
            command,
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout.decode(errors="replace")


def run_page(name, text, tell):
    """Runs the snippets of a page; answers how many passed and failed. After one that failed the page is over."""
    passed = 0
    with tempfile.TemporaryDirectory(prefix="arion-snippets-") as directory:
        page = Page(name, pathlib.Path(directory))
        for number, language, words, body in blocks(text):
            file = next((word.removeprefix("file=") for word in words if word.startswith("file=")), None)
            if file:
                page.write(file, meant(body))
            if "run" not in words:
                continue
            try:
                code, output = page.run(language, meant(body))
            except (subprocess.TimeoutExpired, KeyError) as error:
                code, output = 1, f"{type(error).__name__}: {error}"
            tell(f"   {'PASS' if code == 0 else 'FAIL'} {name}:{number} ({language})")
            if code != 0:
                tell("\n".join(f"      {line}" for line in output.splitlines()[-15:]))
                return passed, 1
            passed += 1
    return passed, 0


REFUSED = 'from urllib.request import urlopen\n\nurlopen("http://127.0.0.1:7800/nothing/here")'
CONTROLS = [
    ("works", "```sh run\nexport A=1\n```\n```sh run\ntest $A = 1\n```\n```python run\nprint(1)\n```\n", (3, 0)),
    ("a command that fails", "```sh run\ntrue\n```\n```sh run\nfalse\necho on\n```\n", (1, 1)),
    ("a program that is not there", "```sh run\nno-such-program | cat\n```\n", (0, 1)),
    ("a wrong program", "```python run\nimport no_such_module\n```\n", (0, 1)),
    ("an unknown language", "```cobol run\nSTOP RUN.\n```\n", (0, 1)),
    ("a refused request", f"```python run\n{REFUSED}\n```\n", (0, 1)),
]


def main():
    """Runs pages, or the controls."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--control", action="store_true", help="prove that broken snippets are found")
    parser.add_argument("pages", nargs="*", type=pathlib.Path)
    arguments = parser.parse_args()
    passed = failed = 0

    def tell(line):
        print(line, flush=True)

    if arguments.control:
        for name, text, wanted in CONTROLS:
            found = run_page(name, text, lambda _: None)
            holds = found == wanted
            passed, failed = passed + holds, failed + (not holds)
            tell(f"   {'PASS' if holds else 'FAIL'} control: {name}: {found}")
    for path in arguments.pages:
        text = path.read_text()
        good, bad = run_page(path.name, text, tell)
        if good + bad == 0:
            tell(f"   FAIL {path.name} has no snippet that runs")
            bad = 1
        passed, failed = passed + good, failed + bad
    tell(f"snippets: {passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
