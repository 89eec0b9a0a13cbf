"""What fetching one version may take: files, bytes and seconds in all; and its end on request."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic

from modelyard.errors import ModelRefusedError, RegistryUnavailableError
from modelyard.registry.records import ArtifactFile


@dataclass(frozen=True)
class TransferLimits:
    """What a version may take to be fetched.

    Args:
        seconds: from the first request to the last byte: a store that drips is as good as none.
        bytes: of all files together.
        files: how many.
    """

    seconds: float = 600.0
    bytes: int = 4 * 2**30
    files: int = 10_000


class Transfer:
    """One version on its way; it begins when this is made. Used by one thread."""

    def __init__(
        self, limits: TransferLimits | None = None, abandoned: threading.Event | None = None
    ) -> None:
        """Ends early with an error once `abandoned` is set, by any thread."""
        self._limits = limits or TransferLimits()
        self._abandoned = abandoned
        self._ends_at = monotonic() + self._limits.seconds
        self._received_bytes = 0

    def admit(self, files: Iterable[ArtifactFile]) -> list[ArtifactFile]:
        """The listed files.

        Raises:
            ModelRefusedError: there are too many, or they say that they are too large.
        """
        listed = list(islice(files, self._limits.files + 1))
        if len(listed) > self._limits.files:
            raise ModelRefusedError(
                f"The version has more than {self._limits.files} files, which is the most."
            )
        self._check_size(sum(file.size_bytes for file in listed))
        return listed

    def receive(self, size_bytes: int) -> None:
        """Count bytes that have arrived.

        Raises:
            ModelRefusedError: there are too many.
            RegistryUnavailableError: time is up, or nobody waits for the version any more.
        """
        self._received_bytes += size_bytes
        self._check_size(self._received_bytes)
        if self._abandoned is not None and self._abandoned.is_set():
            raise RegistryUnavailableError("The download was abandoned for another version.")
        if monotonic() > self._ends_at:
            raise RegistryUnavailableError(
                f"The version's files did not arrive within {self._limits.seconds:g} s "
                f"({self._received_bytes} bytes did).",
                fix="If the store is that slow, raise SERVING_DOWNLOAD_TIMEOUT_S.",
            )

    def finish(self, file: ArtifactFile, target: Path) -> None:
        """See that a file has arrived whole.

        Raises:
            RegistryUnavailableError: it is shorter than the store said.
        """
        found_bytes = target.stat().st_size
        if found_bytes < file.size_bytes:  # 0 where the store does not say
            raise RegistryUnavailableError(
                f"{file.path} arrived in part: {found_bytes} of {file.size_bytes} bytes."
            )

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._limits.bytes:
            raise ModelRefusedError(
                f"The version's files are larger than {self._limits.bytes >> 20} MiB.",
                fix="If that is meant, raise SERVING_MAX_VERSION_MB.",
            )
