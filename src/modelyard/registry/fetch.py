"""A version's files: downloaded, and checked against what was registered, by one rule for all."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Protocol

from modelyard.errors import ModelDamagedError, ModelRefusedError
from modelyard.registry.manifest import DIGEST_TAG, read_manifest, verify_files
from modelyard.registry.records import ModelVersion
from modelyard.registry.transfer import Transfer


class Verification(StrEnum):
    """How far a version's files were checked against what was registered."""

    VERIFIED = "verified"
    UNANCHORED = "unanchored"
    ABSENT = "absent"

    @property
    def explanation(self) -> str:
        """The same as a sentence."""
        return {
            "verified": "Every file has the sha256 that was registered with the version.",
            "unanchored": "Every file agrees with manifest.json, whose own sha256 the registry "
            "does not keep.",
            "absent": "The version carries no manifest: nothing says what its files should be.",
        }[self.value]


class Store(Protocol):
    """Where a version's files are; `RegistryClient` is one."""

    def download(self, version: ModelVersion, folder: Path, transfer: Transfer) -> None:
        """Write every file of `version` into `folder`, within the bounds of `transfer`."""


def fetch(
    store: Store, version: ModelVersion, folder: Path, transfer: Transfer | None = None
) -> Verification:
    """Download `version` into `folder`, and verify it.

    Args:
        transfer: bounds the download; the usual limits when it is not given.

    Raises:
        RegistryError: its files cannot be fetched.
        ModelDamagedError: they are not those that were registered.
        ModelRefusedError: they are too many or too large.
    """
    store.download(version, folder, transfer or Transfer())
    return verify(version, folder)


def verify(version: ModelVersion, folder: Path) -> Verification:
    """Check the files in `folder` against the manifest that `version` was registered with.

    A version that was registered without one has nothing to be held against, and is not refused:
    so plain MLflow registers its versions.

    Raises:
        ModelDamagedError: the manifest that was registered is missing or another one, or a file is
            missing, differs or is not listed.
    """
    digest = version.tags.get(DIGEST_TAG)
    try:
        manifest = read_manifest(folder, digest)
        if manifest is None:
            return Verification.ABSENT
        verify_files(folder, manifest)
    except ModelRefusedError as error:
        raise ModelDamagedError(error.detail, fix=error.fix) from error
    return Verification.UNANCHORED if digest is None else Verification.VERIFIED
