"""The gateway's status page in headless Chromium, doing what people do.

Prints a line for each check; the last line is `page: P passed, F failed`. With `--pictures DIR` it also makes the pictures of
docs/use/page.md.

Environment: S3_ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, ARION_BIN (where `arion-gateway` is) and
S3_KEYS_FILE, the file of the gateway's access keys.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import boto3
from botocore.exceptions import ClientError

from browser import Absent, Browser
from page_steps import STEPS


class Trial:
    """What the steps share: the browser, another client of the same gateway, and the count."""

    def __init__(self, browser, home, pictures):
        self.browser, self.home, self.pictures = browser, home, pictures
        self.endpoint = os.environ["S3_ENDPOINT"]
        self.keys = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        self.s3 = boto3.client("s3", endpoint_url=self.endpoint)
        self.passed = self.failed = 0

    def check(self, what, holds, seen=""):
        """Records whether something holds; what was seen instead is printed where it does not."""
        if holds:
            self.passed += 1
        else:
            self.failed += 1
        print(f"   {'PASS' if holds else 'FAIL'} {what}{'' if holds or seen == '' else f'; seen: {seen!r}'}", flush=True)

    def tool(self, *arguments):
        """What the operator's tool prints as JSON."""
        program = pathlib.Path(os.environ["ARION_BIN"]) / "arion-gateway"
        command = [program, *arguments, "--access-keys-file", os.environ["S3_KEYS_FILE"]]
        # It keeps nothing but the file of keys; its directory of data is not there.
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise Absent(f"{' '.join(arguments)}: {done.stderr.strip()}")
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    def new_key(self, account, *arguments):
        """Access key and secret of an account."""
        made = self.tool("access-key", "add", "--account", account, "--json", *arguments)
        return made["access_key"], made["secret_key"]

    def open(self, place="", origin=None):
        """A place of the page; a new visit, which stays signed in."""
        self.browser.go("about:blank")
        self.browser.go(f"{origin or self.endpoint}/-/{place}")

    def leave(self, origin=None):
        """The page as somebody sees it who never signed in."""
        # A file of the page that runs nothing: nobody writes what is cleared here.
        self.browser.go(f"{origin or self.endpoint}/-/icon.svg")
        self.browser.js("sessionStorage.clear()")
        self.open(origin=origin)
        self.browser.one("#sign-in")

    def sign_in(self, keys=None, origin=None):
        """A new visit of somebody."""
        browser = self.browser
        self.leave(origin)
        for field, value in zip(("#access", "#secret"), keys or self.keys):
            browser.type(field, value)
        browser.click("Sign in")

    def enter(self, keys=None, origin=None):
        """The same, until it is let in."""
        self.sign_in(keys, origin)
        self.browser.one("#bar")
        self.ready()

    def ready(self):
        """Waits until a view is there."""
        self.browser.wait("a view", lambda: self.browser.js(
            "return document.querySelector('#view h1') && !document.querySelector('#view[aria-busy]')"))

    def visit(self, place, title):
        """A place of the page, until it is there under its title."""
        self.browser.js("location.hash = arguments[0]", place)
        self.browser.says("#view h1", title)
        self.ready()

    def picture(self, name):
        """For the documentation, where somebody wants pictures."""
        if self.pictures:
            self.browser.js("document.activeElement?.blur()")
            self.browser.picture(self.pictures / f"page-{name}.png")

    def file(self, name, content):
        """A file to upload."""
        path = self.home / name
        path.write_bytes(content)
        return path


def run(trial, names):
    """Every step; one that cannot be done is a failure, and the next is tried."""
    browser = trial.browser
    for step in STEPS:
        if names and step.__name__ not in names:
            continue
        print(f"\n== {step.__doc__.splitlines()[0]}", flush=True)
        begun = time.monotonic()
        try:
            browser.screen(920, 640)
            browser.dark(False)
            browser.network()
            step(trial)
        except (Absent, ClientError, OSError, KeyError, ValueError, TypeError) as error:
            trial.check(f"{step.__name__}: {type(error).__name__}: {error}", False)
        complaints = browser.complaints()
        trial.check("the console is quiet", not complaints, complaints)
        print(f"   {step.__name__} took {time.monotonic() - begun:.1f} s", flush=True)


def main():
    """Runs the steps in one browser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=pathlib.Path, help="directory for pictures")
    parser.add_argument("steps", nargs="*", help=f"of {', '.join(step.__name__ for step in STEPS)}; default: all")
    arguments = parser.parse_args()
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="arion-page-") as directory:
        browser = Browser()
        try:
            trial = Trial(browser, pathlib.Path(directory), arguments.pictures)
            run(trial, arguments.steps)
        finally:
            browser.quit()
    print(f"page: {trial.passed} passed, {trial.failed} failed")
    return 0 if trial.passed and not trial.failed else 1


if __name__ == "__main__":
    sys.exit(main())
