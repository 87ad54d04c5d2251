"""boto3, unmodified: the commands of the client matrix. Each prints one JSON object."""

import os
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from commands import PART_BYTES, run, walk

AT_ONCE = 8


def connect():
    """What a user writes: an endpoint, nothing else."""
    return boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"])


def version():
    """Of the library."""
    return {"version": f"boto3 {boto3.__version__}"}


def make_bucket(bucket):
    """Makes a bucket; answers the names of all."""
    s3 = connect()
    s3.create_bucket(Bucket=bucket)
    return {"buckets": [entry["Name"] for entry in s3.list_buckets()["Buckets"]]}


def upload_tree(directory, bucket):
    """Uploads every file below a directory."""
    s3 = connect()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda entry: s3.upload_file(str(entry[0]), bucket, entry[1]), walk(directory)))
    return {}


def contents(s3, bucket):
    """Every object, by pages of 100."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 100})
    return [entry for page in pages for entry in page.get("Contents", [])]


def list_objects(bucket):
    """Keys and sizes."""
    return {"sizes": {entry["Key"]: entry["Size"] for entry in contents(connect(), bucket)}}


def download_tree(bucket, directory):
    """Downloads every object."""
    s3 = connect()

    def fetch(entry):
        path = pathlib.Path(directory, entry["Key"])
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, entry["Key"], str(path))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fetch, contents(s3, bucket)))
    return {}


def upload(file, bucket, key):
    """Uploads in parts, one after another."""
    config = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)
    connect().upload_file(file, bucket, key, Config=config)
    return {}


def complete(file, bucket, key):
    """Goes on with the upload that broke: sends the parts that are missing, and completes it."""
    s3 = connect()
    uploads = s3.list_multipart_uploads(Bucket=bucket, Prefix=key)["Uploads"]
    (upload_id,) = (entry["UploadId"] for entry in uploads)
    target = {"Bucket": bucket, "Key": key, "UploadId": upload_id}
    there = {part["PartNumber"]: part["ETag"] for part in s3.list_parts(**target).get("Parts", [])}
    parts = []
    with open(file, "rb") as source:
        for number, body in enumerate(iter(lambda: source.read(PART_BYTES), b""), 1):
            etag = there.get(number) or s3.upload_part(**target, PartNumber=number, Body=body)["ETag"]
            parts.append({"PartNumber": number, "ETag": etag})
    s3.complete_multipart_upload(**target, MultipartUpload={"Parts": parts})
    return {"kept": len(there), "sent": len(parts) - len(there)}


def read_range(bucket, key, first, last, file):
    """Reads some bytes."""
    answer = connect().get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{last}")
    pathlib.Path(file).write_bytes(answer["Body"].read())
    return {"content_range": answer["ContentRange"]}


def presign(method, bucket, key):
    """A link for anyone."""
    operation = {"GET": "get_object", "PUT": "put_object"}[method]
    parameters = {"Bucket": bucket, "Key": key}
    return {"url": connect().generate_presigned_url(operation, Params=parameters, ExpiresIn=300)}


def checksums(file, bucket, key):
    """Stores with each checksum, reads with verification, names those that came back equal."""
    s3 = connect()
    body = pathlib.Path(file).read_bytes()
    equal = []
    for algorithm in ["CRC32", "SHA1", "SHA256"]:
        put = s3.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm=algorithm)
        got = s3.get_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        name = f"Checksum{algorithm}"
        if got["Body"].read() == body and put[name] == got[name]:
            equal.append(algorithm)
    return {"equal": equal, "wanted": 3}


def delete(bucket, key):
    """Deletes one object; says whether it is gone."""
    s3 = connect()
    s3.delete_object(Bucket=bucket, Key=key)
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        return {"gone": error.response["ResponseMetadata"]["HTTPStatusCode"] == 404}
    return {"gone": False}


def remove_bucket(bucket):
    """Deletes everything, a thousand at a time, and the bucket."""
    s3 = connect()
    keys = [{"Key": entry["Key"]} for entry in contents(s3, bucket)]
    for start in range(0, len(keys), 1000):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": keys[start : start + 1000], "Quiet": True})
        if answer.get("Errors"):
            sys.exit(f"not deleted: {answer['Errors'][:3]}")
    s3.delete_bucket(Bucket=bucket)
    return {"buckets": [entry["Name"] for entry in s3.list_buckets()["Buckets"]]}


if __name__ == "__main__":
    run(globals())
