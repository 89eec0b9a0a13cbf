"""Finds a request in the prediction log."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import suppress
from operator import attrgetter
from pathlib import Path

from modelyard.prediction_log.record import Record, decode, id_field
from modelyard.prediction_log.writer import SUFFIX


def find_predictions(folder: Path, request_id: str) -> list[Record]:
    """All that was answered under this id, the oldest first.

    More than one where a client used its id again, where a shadow answered too, or where an answer
    got lost on its way and the gateway asked another replica.
    """
    wanted = id_field(request_id)
    found = [
        record
        for path in log_files(folder)
        for line in _lines_with(path, wanted)
        if (record := decode(line)) is not None and record.request_id == request_id
    ]
    return sorted(found, key=attrgetter("time"))


def log_files(folder: Path) -> list[Path]:
    """The files of the log, the oldest first; none where there is no folder."""
    return sorted(folder.glob(f"*{SUFFIX}"))


def _lines_with(path: Path, wanted: bytes) -> Iterator[bytes]:
    with suppress(FileNotFoundError), path.open("rb") as file:  # removed since
        if not file.seek(0, 2):
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            at = text.find(wanted)
            while at >= 0:
                start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
                if end < 0:
                    return  # it is being written
                yield text[start:end]
                at = text.find(wanted, end)
