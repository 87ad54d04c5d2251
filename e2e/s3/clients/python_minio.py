"""minio-py, unmodified: the commands of the client matrix. Each prints one JSON object.

The library has no public call that goes on with an upload in parts; the calls it is made of are used for that.
"""

import os
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import md5
from urllib.parse import urlsplit

import minio
from commands import PART_BYTES, run, walk
from minio.datatypes import Part
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

AT_ONCE = 8


def connect():
    """What a user writes."""
    endpoint = urlsplit(os.environ["S3_ENDPOINT"])
    return minio.Minio(
        endpoint=endpoint.netloc,
        access_key=os.environ["AWS_ACCESS_KEY_ID"],
        secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        secure=endpoint.scheme == "https",
    )


def version():
    """Of the library."""
    return {"version": f"minio-py {minio.__version__}"}


def make_bucket(bucket):
    """Makes a bucket; answers the names of all."""
    s3 = connect()
    s3.make_bucket(bucket_name=bucket)
    return {"buckets": [entry.name for entry in s3.list_buckets()]}


def upload_tree(directory, bucket):
    """Uploads every file below a directory."""
    s3 = connect()

    def store(entry):
        s3.fput_object(bucket_name=bucket, object_name=entry[1], file_path=str(entry[0]))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(store, walk(directory)))
    return {}


def list_objects(bucket):
    """Keys and sizes."""
    entries = connect().list_objects(bucket_name=bucket, recursive=True)
    return {"sizes": {entry.object_name: entry.size for entry in entries}}


def download_tree(bucket, directory):
    """Downloads every object."""
    s3 = connect()

    def fetch(entry):
        path = str(pathlib.Path(directory, entry.object_name))
        s3.fget_object(bucket_name=bucket, object_name=entry.object_name, file_path=path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(fetch, s3.list_objects(bucket_name=bucket, recursive=True)))
    return {}


def upload(file, bucket, key):
    """Uploads in parts, one after another."""
    connect().fput_object(
        bucket_name=bucket, object_name=key, file_path=file, part_size=PART_BYTES, num_parallel_uploads=1
    )
    return {}


def complete(file, bucket, key):
    """Goes on with the upload that broke: sends the parts that are missing, and completes it."""
    s3 = connect()
    uploads = s3._list_multipart_uploads(bucket_name=bucket, prefix=key).uploads
    (upload_id,) = (entry.upload_id for entry in uploads)
    listed = s3._list_parts(bucket_name=bucket, object_name=key, upload_id=upload_id).parts
    there = {part.part_number: part.etag for part in listed}
    parts = []
    with open(file, "rb") as source:
        for number, body in enumerate(iter(lambda: source.read(PART_BYTES), b""), 1):
            etag = there.get(number) or s3._upload_part(
                bucket_name=bucket, object_name=key, data=body, headers={}, upload_id=upload_id, part_number=number
            )
            parts.append(Part(part_number=number, etag=etag))
    s3._complete_multipart_upload(bucket_name=bucket, object_name=key, upload_id=upload_id, parts=parts)
    return {"kept": len(there), "sent": len(parts) - len(there)}


def read_range(bucket, key, first, last, file):
    """Reads some bytes."""
    length = int(last) - int(first) + 1
    answer = connect().get_object(bucket_name=bucket, object_name=key, offset=int(first), length=length)
    pathlib.Path(file).write_bytes(answer.data)
    return {"content_range": answer.headers["Content-Range"]}


def presign(method, bucket, key):
    """A link for anyone."""
    sign = {"GET": minio.Minio.presigned_get_object, "PUT": minio.Minio.presigned_put_object}[method]
    return {"url": sign(connect(), bucket_name=bucket, object_name=key, expires=timedelta(minutes=5))}


def checksums(file, bucket, key):
    """Stores a file and compares its MD5 with the ETag."""
    s3 = connect()
    s3.fput_object(bucket_name=bucket, object_name=key, file_path=file)
    etag = s3.stat_object(bucket_name=bucket, object_name=key).etag
    equal = etag == md5(pathlib.Path(file).read_bytes()).hexdigest()
    return {"equal": ["MD5"] if equal else [], "wanted": 1}


def delete(bucket, key):
    """Deletes one object; says whether it is gone."""
    s3 = connect()
    s3.remove_object(bucket_name=bucket, object_name=key)
    try:
        s3.stat_object(bucket_name=bucket, object_name=key)
    except S3Error as error:
        return {"gone": error.code == "NoSuchKey"}
    return {"gone": False}


def remove_bucket(bucket):
    """Deletes everything, a thousand at a time, and the bucket."""
    s3 = connect()
    entries = s3.list_objects(bucket_name=bucket, recursive=True)
    objects = [DeleteObject(name=entry.object_name) for entry in entries]
    errors = list(s3.remove_objects(bucket_name=bucket, delete_object_list=objects))
    if errors:
        sys.exit(f"not deleted: {errors[:3]}")
    s3.remove_bucket(bucket_name=bucket)
    return {"buckets": [entry.name for entry in s3.list_buckets()]}


if __name__ == "__main__":
    run(globals())
