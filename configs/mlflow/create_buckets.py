"""Create the S3 buckets that are missing; buckets that are there stay as they are.

Works with any S3: endpoint and credentials come from AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION and
AWS_SHARED_CREDENTIALS_FILE. Credentials that may not create buckets are enough when the buckets
are there.

Run: python create_buckets.py NAME...
"""

# ruff: noqa: INP001, T201 - a script for a container, which talks to its log

from __future__ import annotations

import os
import sys
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BOUNDED = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 4})
NOT_FOUND = 404
DEFAULT_REGION = "us-east-1"  # the one region that S3 does not want to be told


def exists(store: Any, bucket: str) -> bool:
    """Whether the bucket is there, asked with the credentials that will be used for it."""
    try:
        store.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == NOT_FOUND:
            return False
        raise
    return True


def create(store: Any, bucket: str) -> None:
    """Create the bucket in the client's region; one that was created meanwhile is fine."""
    region = store.meta.region_name
    place = {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        store.create_bucket(Bucket=bucket, **(place if region != DEFAULT_REGION else {}))
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise


def main(buckets: list[str]) -> int:
    """Make sure of every bucket; one line each."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or "AWS"
    store = boto3.client("s3", config=BOUNDED)
    for bucket in buckets:
        try:
            found = exists(store, bucket)
            if not found:
                create(store, bucket)
        except (BotoCoreError, ClientError) as error:
            print(
                f"expected bucket {bucket!r} at {endpoint}, or the right to create it; "
                f"found: {error}. Check S3_ENDPOINT_URL, S3_REGION, the bucket's name and the "
                "credentials file.",
                file=sys.stderr,
            )
            return 1
        print(f"bucket {bucket}: {'there' if found else 'created'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
