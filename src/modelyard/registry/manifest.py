"""`manifest.json`: the sha256 of every file of a model version.

It is written when the version is packaged. Its own sha256 is a tag of the version, which is in the
registry's database: write access to the artifact store alone cannot change a model unnoticed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from modelyard.bounded_json import read_json
from modelyard.errors import ConfigError, ModelRefusedError

FILE_NAME = "manifest.json"
DIGEST_TAG = "modelyard.manifest_sha256"
_FORMAT = 1
_LONGEST = 4 * 2**20  # as long as the most files that a version may have need


def sha256_of(path: Path) -> str:
    """Hex sha256 of the bytes of the file at `path`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> str:
    """Write the manifest of all files under `folder` into it; return the manifest's own sha256."""
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != FILE_NAME
    }
    target = folder / FILE_NAME
    target.write_text(json.dumps({"format": _FORMAT, "sha256": files}, indent=1, sort_keys=True))
    return sha256_of(target)


def read_manifest(folder: Path, digest: str | None) -> Mapping[str, str] | None:
    """File name → sha256 from the manifest in `folder`, or None when there is none.

    Args:
        folder: the version's files.
        digest: the manifest's own sha256 in the registry, if it is registered.

    Raises:
        ModelRefusedError: the manifest is not the registered one, or not in the known format.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        if digest is not None:
            raise ModelRefusedError(
                f"{FILE_NAME} was registered with this version and is not in the artifact store."
            )
        return None
    if digest is not None and (found := sha256_of(path)) != digest:
        raise ModelRefusedError(
            f"{FILE_NAME} is not the registered one: expected sha256 {digest}, found {found}."
        )
    try:
        value = read_json(path, _LONGEST)
        files = value["sha256"]
        well_formed = value["format"] == _FORMAT and all(
            isinstance(name, str) and isinstance(sha, str) for name, sha in files.items()
        )
    except (ConfigError, KeyError, TypeError, AttributeError):
        well_formed = False
    if not well_formed:
        raise ModelRefusedError(f"{FILE_NAME} is not a manifest of format {_FORMAT}.")
    return dict(files)


def verify_files(folder: Path, manifest: Mapping[str, str]) -> None:
    """Check every file under `folder` against `manifest`.

    Raises:
        ModelRefusedError: a file is missing, differs, or is not listed.
    """
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    for name in sorted(present - set(manifest) - {FILE_NAME}):
        raise ModelRefusedError(f"{name} is among the version's files and not in {FILE_NAME}.")
    for name, expected in sorted(manifest.items()):
        if name not in present:
            raise ModelRefusedError(f"{name} is in {FILE_NAME} and not among the version's files.")
        if (found := sha256_of(folder / name)) != expected:
            raise ModelRefusedError(
                f"{name} was changed after registration: expected sha256 {expected}, found {found}."
            )
