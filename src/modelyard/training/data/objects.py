"""A dataset that is a folder of objects in an S3 store, and its version.

Such a dataset has no pointer in git. Its version is the md5 of the list of its objects, each with
size and ETag: adding, replacing or removing an object changes it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from modelyard.errors import DataError

OBJECTS_FILE = "data-objects.json"
"""The run's artifact that lists the objects."""

_SUFFIX = ".parquet"
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 20


@dataclass(frozen=True)
class StoredObject:
    """One object; `etag` is the store's own hash of its bytes."""

    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True)
class StoredDataset:
    """The objects under `s3://bucket/prefix`, by their keys."""

    uri: str
    objects: tuple[StoredObject, ...]

    @property
    def md5(self) -> str:
        """Name of this version: the md5 of what `to_json` returns."""
        return hashlib.md5(self.to_json().encode(), usedforsecurity=False).hexdigest()

    @property
    def size_bytes(self) -> int:
        """All objects together."""
        return sum(found.size_bytes for found in self.objects)

    @property
    def paths(self) -> tuple[str, ...]:
        """`bucket/key` of each object."""
        bucket = urlsplit(self.uri).netloc
        return tuple(f"{bucket}/{found.key}" for found in self.objects)

    def to_json(self) -> str:
        """The list, the same bytes for the same objects."""
        return json.dumps([asdict(found) for found in self.objects], indent=1) + "\n"

    def changed_since(self, earlier: StoredDataset) -> list[str]:
        """Keys of objects that were added, removed or replaced since `earlier`."""
        return sorted({found.key for found in set(self.objects) ^ set(earlier.objects)})


def find_objects(uri: str) -> StoredDataset:
    """The Parquet objects at `uri`, `s3://bucket/prefix`: one key, or all below it.

    The store is found by AWS_ENDPOINT_URL_S3 and AWS_SHARED_CREDENTIALS_FILE.

    Raises:
        DataError: the store does not answer or refuses, or nothing is there.
    """
    from boto3 import client  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    place = urlsplit(uri)
    prefix = place.path.strip("/")
    try:
        store = client(
            "s3",
            config=Config(
                connect_timeout=_CONNECT_TIMEOUT_S,
                read_timeout=_READ_TIMEOUT_S,
                retries={"total_max_attempts": 2},
            ),
        )
        pages = store.get_paginator("list_objects_v2").paginate(Bucket=place.netloc, Prefix=prefix)
        entries = [entry for page in pages for entry in page.get("Contents", [])]
    except (BotoCoreError, ClientError) as error:
        raise DataError(
            f"{uri} cannot be listed: {' '.join(str(error).split())[:300]}",
            fix="Is the store up, and is the bucket there? It is found by AWS_ENDPOINT_URL_S3 and "
            "AWS_SHARED_CREDENTIALS_FILE.",
        ) from error
    found = [
        StoredObject(key, int(entry["Size"]), str(entry["ETag"]).strip('"'))
        for entry in sorted(entries, key=lambda entry: str(entry["Key"]))
        if entry["Size"] and (key := str(entry["Key"])).endswith(_SUFFIX)
        if not prefix or key == prefix or key.startswith(f"{prefix}/")
    ]
    if not found:
        raise DataError(
            f"There is no object whose name ends with {_SUFFIX} at {uri}.",
            fix="Name the folder that holds the Parquet files: data: s3://bucket/prefix",
        )
    return StoredDataset(uri, tuple(found))
