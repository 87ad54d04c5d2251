"""Continuous S3 load (boto3, unmodified) with an oracle that remembers every acknowledged change.

    load.py --seed S --bucket B [--workers N] [--keys K]

Standard input, a line each: `stop` ends the load, `verify` (after it) reads everything that was ever acknowledged and ends the
program. Standard output, a JSON object a line:

    {"second": 12, "ok": 31, "failed": 2, "slowest": 0.31, "failed_at": [0, 2]}   answers in that second of the run, and
                                                                    failures by endpoint
    {"finding": "lost" | "corrupt" | "wrong", "key": ..., "what": ...}        as soon as it is seen
    {"acknowledged": A, "lost": L, "corrupt": C, "wrong": W, "unread": U, "keys": [...]}    the answer to `verify`

What counts:
  acknowledged   objects written and deletions that were answered with success
  lost           an object that was acknowledged and not deleted is answered with "no such key", or cannot be read in the end
  corrupt        bytes that nobody ever wrote under that key
  wrong          bytes of an earlier version, an object that was deleted, a listing without an acknowledged key or with a deleted one

A change that was not answered may have happened or not; both are taken, and the key is left alone from then on, because the request
may still be under way. Every worker has keys of its own, so that what it knows of them is exact.

With several endpoints, replicas of one gateway, each worker asks them in turns, as a load balancer would: what one has acknowledged, the
next must know, and one that gives no answer is left alone for some seconds. In the end each of them is asked for everything.

Environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, S3_ENDPOINT (several with commas between them).
"""

import argparse
import hashlib
import itertools
import json
import os
import random
import sys
import threading
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

KIB = 1 << 10
MIB = 1 << 20
# Share of the writes, smallest and largest size.
SIZES = [(0.55, 1, 64 * KIB), (0.35, 64 * KIB, MIB), (0.10, MIB, 12 * MIB)]
# How long one object may take to be read in the end.
VERIFY_SECONDS = 120
ABSENT = None


ENDPOINTS = os.environ["S3_ENDPOINT"].split(",")
# Without an answer for so long, somebody else is asked, where there is somebody else.
PATIENCE_SECONDS = 30 if len(ENDPOINTS) == 1 else 10
LEFT_ALONE_SECONDS = 5


def connect(endpoint):
    """A client that tries nothing again: every answer counts."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            connect_timeout=3,
            read_timeout=PATIENCE_SECONDS,
            max_pool_connections=2,
        ),
    )


def digest(body):
    """What tells one body from another."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


class Output:
    """Lines of JSON, and what happened in each second."""

    def __init__(self):
        self.lock = threading.Lock()
        self.began = time.monotonic()
        self.current = None
        self.counts = None

    def line(self, **fields):
        """Prints an object."""
        with self.lock:
            self._print(fields)

    def _print(self, fields):
        sys.stdout.write(json.dumps(fields) + "\n")
        sys.stdout.flush()

    def answered(self, ok, seconds, endpoint=0):
        """Counts an answer of an endpoint; None: no answer, the second only passes."""
        with self.lock:
            second = int(time.monotonic() - self.began)
            if second != self.current:
                if self.counts:
                    self._print({"second": self.current, **self.counts})
                self.current = second
                self.counts = {"ok": 0, "failed": 0, "slowest": 0.0, "failed_at": [0] * len(ENDPOINTS)}
            if ok is None:
                return
            self.counts["ok" if ok else "failed"] += 1
            self.counts["failed_at"][endpoint] += not ok
            self.counts["slowest"] = max(self.counts["slowest"], round(seconds, 3))


class Key:
    """What is known of one key."""

    def __init__(self, name):
        self.name = name
        self.version = 0
        # Digests that may be there now; ABSENT among them.
        self.may = {ABSENT}
        # Digests that were once there.
        self.once = set()
        self.is_open = True
        self.is_acknowledged = False
        self.faults = set()

    def body(self, seed, size):
        """The bytes of the next version: nothing else ever has them."""
        self.version += 1
        return random.Random(f"{seed}/{self.name}/{self.version}").randbytes(size)


class Worker(threading.Thread):
    """One client, and the keys that are its own."""

    def __init__(self, number, arguments, output, stop):
        super().__init__(daemon=True)
        self.arguments = arguments
        self.output = output
        self.stop = stop
        self.dice = random.Random(f"{arguments.seed}/{number}")
        self.prefix = f"w{number:02}/"
        self.keys = []
        self.made = 0
        self.acknowledged = 0
        self.clients = [connect(endpoint) for endpoint in ENDPOINTS]
        self.turns = itertools.cycle(range(len(ENDPOINTS)))
        self.left_alone_until = [0.0] * len(ENDPOINTS)

    def run(self):
        while not self.stop.is_set():
            open_keys = [key for key in self.keys if key.is_open]
            written = [key for key in self.keys if key.version]
            choice = self.dice.random()
            if len(open_keys) < 4 or (choice < 0.2 and len(open_keys) < self.arguments.keys):
                self.put(self.fresh())
            elif choice < 0.45:
                self.put(self.dice.choice(open_keys))
            elif choice < 0.85:
                self.get(self.dice.choice(written))
            elif choice < 0.95:
                self.delete(self.dice.choice(open_keys))
            else:
                self.list()

    def fresh(self):
        """A key that was never used."""
        self.made += 1
        key = Key(f"{self.prefix}{self.made:05}")
        self.keys.append(key)
        return key

    def turn(self):
        """The endpoint whose turn it is, of those that answer if there are any."""
        now = time.monotonic()
        turns = [next(self.turns) for _ in ENDPOINTS]
        next(self.turns)
        return next((turn for turn in turns if self.left_alone_until[turn] <= now), turns[0])

    def attempt(self, call, endpoint=None):
        """Answer and error code: (answer, None), (None, code), (None, "") where no answer came. The next endpoint is asked."""
        if endpoint is None:
            endpoint = self.turn()
        began = time.monotonic()
        code, answer = None, None
        try:
            answer = call(self.clients[endpoint])
        except ClientError as error:
            code = error.response["Error"]["Code"]
        except (BotoCoreError, OSError) as error:
            code = ""
            del error
            self.left_alone_until[endpoint] = time.monotonic() + LEFT_ALONE_SECONDS
        fine = code is None or code in ("NoSuchKey", "404")
        self.output.answered(fine, time.monotonic() - began, endpoint)
        if not fine:
            # A server that refuses at once is not asked a thousand times a second.
            self.stop.wait(0.2)
        return answer, code

    def size(self):
        """A size, by the shares above."""
        point = self.dice.random()
        for share, least, most in SIZES:
            if point < share:
                return self.dice.randint(least, most)
            point -= share
        return 0

    def put(self, key):
        """Writes a new version."""
        size = self.size()
        body = key.body(self.arguments.seed, size)
        mark = digest(body)
        bucket = self.arguments.bucket
        _, code = self.attempt(lambda s3: s3.put_object(Bucket=bucket, Key=key.name, Body=body))
        if code is None:
            key.once |= {known for known in key.may if known}
            key.may = {mark}
            key.is_acknowledged = True
            self.acknowledged += 1
        else:
            key.may = key.may | {mark}
            key.is_open = False

    def delete(self, key):
        """Deletes it, there or not."""
        bucket = self.arguments.bucket
        _, code = self.attempt(lambda s3: s3.delete_object(Bucket=bucket, Key=key.name))
        if code is None:
            key.once |= {known for known in key.may if known}
            key.may = {ABSENT}
            self.acknowledged += 1
        else:
            key.may = key.may | {ABSENT}
            key.is_open = False

    def read(self, key, endpoint):
        """The digest of what is there, ABSENT, or the error code."""
        def whole(s3):
            return s3.get_object(Bucket=self.arguments.bucket, Key=key.name)["Body"].read()

        body, code = self.attempt(whole, endpoint)
        if code is None:
            return digest(body), None
        if code == "NoSuchKey":
            return ABSENT, None
        return None, code or "no answer"

    def get(self, key, endpoint=None):
        """Reads it and compares."""
        found, error = self.read(key, endpoint)
        if error is None:
            self.judge(key, found)
        return error

    def judge(self, key, found):
        """Says so if what was found cannot be."""
        if found in key.may:
            return
        if found is ABSENT:
            kind, what = "lost", "no such key"
        elif found in key.once:
            kind, what = "wrong", "an earlier version, or one that was deleted"
        else:
            kind, what = "corrupt", "bytes that nobody wrote"
        if kind not in key.faults:
            key.faults.add(kind)
            self.output.line(finding=kind, key=key.name, what=what)

    def list(self, endpoint=None):
        """Every key that must be there is listed, and none that must not."""
        def pages(s3):
            names = set()
            for page in s3.get_paginator("list_objects_v2").paginate(
                Bucket=self.arguments.bucket, Prefix=self.prefix
            ):
                names |= {entry["Key"] for entry in page.get("Contents", [])}
            return names

        names, code = self.attempt(pages, endpoint)
        if code is None:
            self.judge_listing(names)
        return code

    def judge_listing(self, names):
        for key in self.keys:
            must, must_not = ABSENT not in key.may, key.may == {ABSENT}
            if (must and key.name not in names) or (must_not and key.name in names):
                if "wrong" not in key.faults:
                    key.faults.add("wrong")
                    what = "not listed" if must else "deleted and listed"
                    self.output.line(finding="wrong", key=key.name, what=what)

    def verify(self, endpoint):
        """Reads every key at an endpoint, and the listing; answers keys that cannot be read."""
        unread = []
        for key in self.keys:
            deadline = time.monotonic() + VERIFY_SECONDS
            while (error := self.get(key, endpoint)) is not None:
                if time.monotonic() > deadline:
                    unread.append(key.name)
                    if ABSENT not in key.may:
                        key.faults.add("lost")
                        self.output.line(finding="lost", key=key.name, what=f"cannot be read: {error}")
                    break
                time.sleep(0.5)
        deadline = time.monotonic() + VERIFY_SECONDS
        while self.list(endpoint) is not None and time.monotonic() < deadline:
            time.sleep(0.5)
        return unread


def main():
    """Loads until told to stop, then verifies."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--keys", type=int, default=60)
    arguments = parser.parse_args()
    connect(ENDPOINTS[0]).create_bucket(Bucket=arguments.bucket)
    output, stop = Output(), threading.Event()
    workers = [Worker(number, arguments, output, stop) for number in range(arguments.workers)]
    for worker in workers:
        worker.start()

    def tick():
        while not stop.wait(1.0):
            output.answered(None, 0.0)

    threading.Thread(target=tick, daemon=True).start()
    for line in sys.stdin:
        match line.strip():
            case "stop":
                stop.set()
                for worker in workers:
                    worker.join()
                output.line(stopped=True)
            case "verify":
                # Requests to a server that is well are not waited for between errors any more.
                stop.clear()
                endpoints = range(len(ENDPOINTS))
                unread = {name for worker in workers for endpoint in endpoints for name in worker.verify(endpoint)}
                keys = [key for worker in workers for key in worker.keys]
                count = lambda kind: sum(kind in key.faults for key in keys)  # noqa: E731
                output.line(
                    acknowledged=sum(worker.acknowledged for worker in workers),
                    lost=count("lost"),
                    corrupt=count("corrupt"),
                    wrong=count("wrong"),
                    unread=len(unread),
                    keys=[key.name for key in keys if ABSENT not in key.may],
                )
                return
            case other:
                sys.exit(f"{other}: say stop or verify")


if __name__ == "__main__":
    main()
