"""An S3 client nobody here wrote (boto3, unmodified), one operation per run.

Prints one JSON object: what was observed. Refusals are observations, with the S3 error code, not failures of this
program; exit code 1 means that no answer came at all.

Environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, S3_ENDPOINT.
"""

import argparse
import json
import os
import sys
import time
import urllib.parse

import blake3
import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import URLLib3Session

MIB = 1 << 20


def connect():
    """A client with path-style addresses and one attempt more than none."""
    return boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT"],
        config=Config(
            s3={"addressing_style": "path"},
            retries={"mode": "standard", "total_max_attempts": 2},
            connect_timeout=5,
            read_timeout=180,
        ),
    )


def digest(path):
    """BLAKE3 of a file and its size."""
    hasher = blake3.blake3()
    with open(path, "rb") as file:
        while block := file.read(MIB):
            hasher.update(block)
    return {"blake3": hasher.hexdigest(), "bytes": os.path.getsize(path)}


def make_bucket(s3, arguments):
    """Creates the bucket; it may be there already."""
    try:
        s3.create_bucket(Bucket=arguments.bucket)
        return {"created": True}
    except ClientError as error:
        if error.response["Error"]["Code"] in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
            return {"created": False}
        raise


def put(s3, arguments):
    """Uploads a file as boto3 does it: in parts of 8 MiB above 8 MiB."""
    transfer = TransferConfig(multipart_threshold=8 * MIB, multipart_chunksize=8 * MIB, max_concurrency=4)
    begun = time.monotonic()
    s3.upload_file(arguments.file, arguments.bucket, arguments.key, Config=transfer)
    seconds = time.monotonic() - begun
    head = s3.head_object(Bucket=arguments.bucket, Key=arguments.key)
    return {"seconds": seconds, "etag": head["ETag"], "head_bytes": head["ContentLength"], **digest(arguments.file)}


def credit(answer):
    """What an answer says of the credits of who asked."""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    return {"credit_state": headers.get("x-arion-credit-state"), "credit_until": headers.get("x-arion-credit-until")}


def store(s3, arguments):
    """Uploads a file with one plain PUT."""
    with open(arguments.file, "rb") as file:
        answer = s3.put_object(Bucket=arguments.bucket, Key=arguments.key, Body=file)
    return {"etag": answer["ETag"], **credit(answer), **digest(arguments.file)}


def store_many(s3, arguments):
    """Uploads a file under so many keys, one after the other, each with one plain PUT."""
    with open(arguments.file, "rb") as file:
        body = file.read()
    for number in range(arguments.count):
        s3.put_object(Bucket=arguments.bucket, Key=f"many/{number:06}", Body=body)
    return {"stored": arguments.count}


def delete_many(s3, arguments):
    """Deletes what store-many stored."""
    for number in range(arguments.count):
        s3.delete_object(Bucket=arguments.bucket, Key=f"many/{number:06}")
    return {"deleted": arguments.count}


def empty(s3, arguments):
    """Deletes every object of a bucket, a page at a time."""
    deleted = 0
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=arguments.bucket):
        keys = [{"Key": entry["Key"]} for entry in page.get("Contents", [])]
        if keys:
            answer = s3.delete_objects(Bucket=arguments.bucket, Delete={"Objects": keys})
            deleted += len(answer["Deleted"])
    return {"deleted": deleted}


def delete(s3, arguments):
    """Deletes an object."""
    return credit(s3.delete_object(Bucket=arguments.bucket, Key=arguments.key))


def get(s3, arguments):
    """Downloads an object with one plain GET."""
    begun = time.monotonic()
    answer = s3.get_object(Bucket=arguments.bucket, Key=arguments.key)
    with open(arguments.file, "wb") as file:
        for block in answer["Body"].iter_chunks(MIB):
            file.write(block)
    return {"seconds": time.monotonic() - begun, **credit(answer), **digest(arguments.file)}


def get_range(s3, arguments):
    """Downloads some bytes of an object."""
    last = arguments.offset + arguments.length - 1
    answer = s3.get_object(Bucket=arguments.bucket, Key=arguments.key, Range=f"bytes={arguments.offset}-{last}")
    body = answer["Body"].read()
    return {"bytes": len(body), "blake3": blake3.blake3(body).hexdigest(), "content_range": answer["ContentRange"]}


def list_keys(s3, arguments):
    """Keys of a bucket."""
    answer = s3.list_objects_v2(Bucket=arguments.bucket)
    return {"keys": [entry["Key"] for entry in answer.get("Contents", [])]}


def locate(s3, arguments):
    """Where the shards of an object are."""
    query = urllib.parse.urlencode({"bucket": arguments.bucket, "key": arguments.key})
    return route(s3, f"v1/locate?{query}")


def receipt(s3, arguments):
    """The receipt of an object, into a file."""
    query = urllib.parse.urlencode({"bucket": arguments.bucket, "key": arguments.key})
    answer = route(s3, f"v1/receipt?{query}")
    if "error" not in answer:
        with open(arguments.file, "w", encoding="utf-8") as file:
            json.dump(answer, file)
    return {"error": answer.get("error")}


def usage(s3, _arguments):
    """What the account stores and what that costs."""
    return route(s3, "v1/usage")


def route(s3, path):
    """One of the gateway's own routes, signed like any S3 request."""
    request = AWSRequest("GET", f"{os.environ['S3_ENDPOINT']}/{path}")
    S3SigV4Auth(boto3.Session().get_credentials(), "s3", s3.meta.region_name).add_auth(request)
    answer = URLLib3Session().send(request.prepare())
    if answer.status_code != 200:
        return {"error": f"HTTP {answer.status_code}", "message": answer.text[:500], "status": answer.status_code}
    return json.loads(answer.content)


def main():
    """Parses, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run, names in [
        ("make-bucket", make_bucket, ["bucket"]),
        ("put", put, ["file", "bucket", "key"]),
        ("get", get, ["bucket", "key", "file"]),
        ("get-range", get_range, ["bucket", "key", "offset", "length"]),
        ("delete", delete, ["bucket", "key"]),
        ("empty", empty, ["bucket"]),
        ("list", list_keys, ["bucket"]),
        ("locate", locate, ["bucket", "key"]),
        ("store", store, ["file", "bucket", "key"]),
        ("store-many", store_many, ["file", "bucket", "count"]),
        ("delete-many", delete_many, ["bucket", "count"]),
        ("receipt", receipt, ["bucket", "key", "file"]),
        ("usage", usage, []),
    ]:
        command = commands.add_parser(name, help=run.__doc__)
        command.set_defaults(run=run)
        for argument in names:
            command.add_argument(argument, type=int if argument in ("offset", "length", "count") else str)
    arguments = parser.parse_args()
    try:
        observed = arguments.run(connect(), arguments)
    except ClientError as error:
        answer = error.response
        observed = {
            "error": answer["Error"].get("Code", "?"),
            "message": answer["Error"].get("Message", ""),
            "status": answer["ResponseMetadata"]["HTTPStatusCode"],
            **credit(answer),
        }
    except (BotoCoreError, Boto3Error) as error:
        print(f"no answer: {error}", file=sys.stderr)
        return 1
    print(json.dumps(observed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
