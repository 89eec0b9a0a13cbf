"""Finds a request in the log of predictions."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.prediction_log.writer import SUFFIX


@dataclass(frozen=True)
class LoggedPrediction:
    """One line of the log."""

    fields: dict[str, Any]
    """As they were written."""

    @property
    def model(self) -> str:
        """Name of the registered model that answered."""
        return str(self.fields["model"])

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.fields["version"])


def find_predictions(folder: Path, request_id: str) -> list[LoggedPrediction]:
    """All that was answered under this id, the oldest first.

    More than one where a client used its id again, where a shadow answered too, or where an answer
    got lost on its way and the gateway asked another replica.
    """
    wanted = f'"id":"{request_id}"'.encode()
    found = [
        fields
        for path in log_files(folder)
        for fields in _matches(path, wanted)
        if fields.get("id") == request_id
    ]
    return [LoggedPrediction(fields) for fields in sorted(found, key=lambda f: str(f["time"]))]


def log_files(folder: Path) -> list[Path]:
    """The files of the log, the oldest first; none where there is no folder."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def _matches(path: Path, wanted: bytes) -> Iterator[dict[str, Any]]:
    with suppress(FileNotFoundError), path.open("rb") as file:  # removed since
        if not file.seek(0, 2):
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            at = text.find(wanted)
            while at >= 0:
                start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
                if end < 0:
                    return  # it is being written
                yield json.loads(text[start:end].decode(errors="replace"))
                at = text.find(wanted, end)
