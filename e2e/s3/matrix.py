"""S3 clients nobody here wrote, unmodified, doing with a bucket what people do.

Every client makes a bucket, stores a tree of small files and takes it back, has an upload in parts broken by a dead
connection and a kill, and completes it; reads a range, hands out links, compares checksums, deletes. Prints a line for
each check; the last line is `clients: P passed, F failed`.

Environment: S3_ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, ARION_S3_NODE_MODULES.
"""

import argparse
import hashlib
import http.client
import os
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from breaking import Way
from clients import Failed, libraries
from clients.tools import TOOLS

PART_BYTES = 5 << 20
# Four whole parts and a short one; it breaks in the third.
LARGE_BYTES = 4 * PART_BYTES + 1_234_567
BREAK_AT_BYTES = 2 * PART_BYTES + PART_BYTES // 2
BREAK_DEADLINE_SECONDS = 120
# Names that have been encoded wrongly somewhere before.
ODD_NAMES = ["a b", "a+b", "ü", "50%", "a&b=c", "(x)", "it's", "~t", "#1", "日本"]


def plant(directory, count):
    """A tree of small files, the same everywhere; answers sizes and hashes by key."""
    dice = random.Random(20261121)
    planted = {}
    for number in range(count):
        name = f"f{number:04}" + (f" {ODD_NAMES[number // 7 % len(ODD_NAMES)]}" if number % 7 == 0 else "")
        key = f"d{number % 17:02}/e{number % 3}/{name}.txt"
        path = directory / key
        path.parent.mkdir(parents=True, exist_ok=True)
        body = dice.randbytes(0 if number % 50 == 0 else dice.randrange(1, 3_000))
        path.write_bytes(body)
        planted[key] = (len(body), hashlib.sha256(body).hexdigest())
    return planted


def look(directory):
    """What lies below a directory, as `plant` answers it."""
    return {
        path.relative_to(directory).as_posix(): (
            path.stat().st_size,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in directory.rglob("*")
        if path.is_file()
    }


def differences(found, wanted):
    """For people: the first differences of two dictionaries."""
    wrong = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
    return "" if not wrong else f"; {len(wrong)} differ, such as {sorted(wrong)[:3]}"


def fetch(url, method="GET", body=None):
    """Status and body, as anyone without a key gets them. No header is made up: signatures may be over all of them."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Trial:
    """One client: its checks and what it printed."""

    def __init__(self, client, bucket, tree, planted, large):
        self.client, self.bucket, self.tree, self.planted, self.large = client, bucket, tree, planted, large
        self.whole = large.read_bytes()
        self.lines, self.passed, self.failed = [], 0, 0

    def check(self, what, holds):
        """Records whether something holds."""
        if holds:
            self.passed += 1
        else:
            self.failed += 1
        self.lines.append(f"   {'PASS' if holds else 'FAIL'} {self.client.name}: {what}")

    def observed(self, text):
        """Records what was seen."""
        self.lines.append(f"   {text}")

    def run(self):
        """All steps; one that cannot be done is a failure and the next is tried."""
        steps = [self.make_bucket, self.tree_goes_up, self.tree_comes_back, self.broken_upload, self.part_of_it]
        steps += [self.links, self.compare_checksums, self.delete]
        for step in steps:
            begun = time.monotonic()
            try:
                step()
            except (Failed, OSError, KeyError, ValueError, TypeError) as error:
                self.check(f"{step.__name__}: {type(error).__name__}: {error}", False)
            self.observed(f"{self.client.name}: {step.__name__} took {time.monotonic() - begun:.1f} s")

    def make_bucket(self):
        """Step 1."""
        self.observed(f"{self.client.name} is {self.client.version()}")
        self.check("a bucket is made and listed", self.bucket in self.client.make_bucket(self.bucket))

    def tree_goes_up(self):
        """Step 2."""
        self.client.sync_up(self.tree, self.bucket)
        wanted = {key: size for key, (size, _) in self.planted.items()}
        found = self.client.sizes(self.bucket)
        self.check(f"{len(wanted)} files are stored and listed{differences(found, wanted)}", found == wanted)
        if self.client.syncs:
            again = self.client.sync_up(self.tree, self.bucket)
            self.check(f"a second synchronisation finds nothing to do{again[:2] or ''}", again == [])

    def tree_comes_back(self):
        """Step 3."""
        back = self.client.home / "back"
        back.mkdir()
        self.client.sync_down(self.bucket, back)
        found = look(back)
        self.check(f"the files come back, SHA-256 equal{differences(found, self.planted)}", found == self.planted)

    def broken_upload(self):
        """Step 4."""
        client, key = self.client, "large file"
        with Way(client.access["endpoint"], BREAK_AT_BYTES) as way:
            process = client.upload(way.endpoint, self.large, self.bucket, key)
            said = []
            # Read, so that a client that says much does not wait for a reader.
            reader = threading.Thread(target=lambda: said.extend(process.communicate()), daemon=True)
            reader.start()
            deadline = time.monotonic() + BREAK_DEADLINE_SECONDS
            while reader.is_alive() and time.monotonic() < deadline and not way.broken.wait(0.1):
                pass
            broke, alive = way.broken.is_set(), process.poll() is None
            if alive:
                os.killpg(process.pid, signal.SIGKILL)
            reader.join()
        if not (broke and alive):
            self.observed(b" ".join(said).decode(errors="replace")[-600:])
        self.check("an upload in parts breaks in the third part and is killed", broke and alive)
        self.check("nothing of it is an object", key not in client.sizes(self.bucket))
        with Way(client.access["endpoint"]) as way:
            done = client.complete(way.endpoint, self.large, self.bucket, key)
            sent = way.passed
        self.observed(f"{client.name}: {done}, {sent} bytes went up to complete it")
        if client.resumes:
            whole = (done["kept"], done["sent"]) == (2, 3) and sent < LARGE_BYTES - PART_BYTES
            self.check("it goes on with the three parts that are missing", whole)
        else:
            self.check("it is stored anew, and what was left is cleared", done == {"left": 1, "cleared": 1})
        size = client.sizes(self.bucket).get(key)
        self.check("the object has its size", size == LARGE_BYTES)

    def part_of_it(self):
        """Step 5."""
        file = self.client.home / "part-of-it"
        first, last = 2 * PART_BYTES - 1_000, 3 * PART_BYTES + 999
        equal = self.client.read_range(self.bucket, "large file", first, last, file, self.whole)
        self.check(f"bytes {first} to {last} come back, equal", equal)

    def links(self):
        """Step 6."""
        url = self.client.presign("GET", self.bucket, "large file")
        status, body = fetch(url)
        self.check(f"a link reads the object without a key (HTTP {status})", status == 200 and body == self.whole)
        status, _ = fetch(url.replace("large", "small"))
        self.check(f"the same link for another key is refused (HTTP {status})", status == 403)
        url = self.client.presign("PUT", self.bucket, "by link")
        if url is None:
            return
        status, body = fetch(url, "PUT", b"put by link")
        self.check(f"a link stores an object without a key (HTTP {status})", status == 200)
        _, body = fetch(self.client.presign("GET", self.bucket, "by link"))
        self.check("what was stored by link comes back", body == b"put by link")

    def compare_checksums(self):
        """Step 7."""
        file = self.client.home / "checked-file"
        file.write_bytes(self.whole[:70_000])
        names, equal = self.client.checksums(file, self.bucket, "checked")
        self.check(f"checksums agree: {', '.join(names)}", equal)

    def delete(self):
        """Step 8."""
        self.check("a deleted object is gone", self.client.delete(self.bucket, "large file"))
        left = self.client.remove_bucket(self.bucket)
        self.check("everything is deleted, and the bucket", self.bucket not in left)


def main():
    """Runs the clients, as many at once as asked for."""
    makers = {**TOOLS, **libraries()}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200, help="files of the tree")
    parser.add_argument("--at-once", type=int, default=2, help="clients at once")
    parser.add_argument("clients", nargs="*", help=f"of {', '.join(makers)}; default: all")
    arguments = parser.parse_args()
    access = {
        "endpoint": os.environ["S3_ENDPOINT"],
        "access_key": os.environ["AWS_ACCESS_KEY_ID"],
        "secret_key": os.environ["AWS_SECRET_ACCESS_KEY"],
        "region": os.environ["AWS_DEFAULT_REGION"],
    }
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="arion-clients-") as directory:
        root = pathlib.Path(directory)
        tree, large = root / "tree", root / "large.bin"
        tree.mkdir()
        planted = plant(tree, arguments.files)
        large.write_bytes(random.Random(7).randbytes(LARGE_BYTES))

        def trial(name):
            begun = time.monotonic()
            client = makers[name](access, root / name)
            done = Trial(client, f"clients-{name}", tree, planted, large)
            done.run()
            print(f"\n== {name}, {time.monotonic() - begun:.0f} s", *done.lines, sep="\n", flush=True)
            return done

        with ThreadPoolExecutor(arguments.at_once) as pool:
            for done in pool.map(trial, arguments.clients or makers):
                passed, failed = passed + done.passed, failed + done.failed
    print(f"clients: {passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
