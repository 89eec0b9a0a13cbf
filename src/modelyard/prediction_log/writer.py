"""Appends to the prediction log, and keeps its folder within bounds."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

from modelyard.errors import ConfigError

SUFFIX = ".ndjson"
FILE_BYTES = 16 * 2**20
"""A full file; the bounds of the folder are held to within one file a server."""

_SECONDS_A_DAY = 86_400
_LINE_BYTES = 256


class LogWriter:
    """Appends lines to files of its own in `folder`. Used from one thread.

    Appended lines are with the operating system: they outlive the process, however it ends. A
    machine that loses power may lose the last seconds, which were not on the disk yet.

    Args:
        folder: several servers may share it.
        max_bytes: what all files together may hold; the oldest are removed.
        max_age_s: files that were last written longer ago are removed.
    """

    def __init__(self, folder: Path, max_bytes: int, max_age_s: float) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._file: int | None = None
        self._size = 0
        self._day = -1

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            ConfigError: it cannot be made, or not written.
        """
        fault = ""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            fault = error.strerror or str(error)
        else:
            if not os.access(self._folder, os.W_OK | os.X_OK):
                fault = "no permission to write"
        if fault:
            raise ConfigError(
                f"The folder {self._folder} for the prediction log cannot be used ({fault}).",
                fix="Set SERVING_PREDICTION_LOG_DIR to one that this user may write, or "
                "SERVING_PREDICTION_LOG=off.",
            )

    def check(self) -> None:
        """See whether a line of usual length could be written, and write none.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        if self._file is None:
            self._begin_file(int(time.time()) // _SECONDS_A_DAY)
        assert self._file is not None
        try:
            written = os.write(self._file, b" " * _LINE_BYTES)
        finally:
            os.ftruncate(self._file, self._size)
        if written != _LINE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def append(self, lines: bytes) -> None:
        """Write whole lines; all of them, or none.

        Raises:
            OSError: the disk is full, or cannot be written.
        """
        day = int(time.time()) // _SECONDS_A_DAY
        if self._file is None or self._size >= FILE_BYTES or day != self._day:
            self._begin_file(day)
        assert self._file is not None
        written = os.write(self._file, lines)
        if written != len(lines):  # a full disk takes a part, and no line may follow half of one
            os.ftruncate(self._file, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _begin_file(self, day: int) -> None:
        self.close()
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{platform.node()}-{os.getpid()}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        file = os.open(self._folder / name, flags, 0o640)
        fcntl.flock(file, fcntl.LOCK_SH)
        self._file, self._size, self._day = file, 0, day
        bounds = (self._folder, self._max_bytes, self._max_age_s)
        # requests would wait while the file system removes files
        Thread(target=remove_oldest, args=bounds, name="prediction-log", daemon=True).start()


def remove_oldest(folder: Path, max_bytes: int, max_age_s: float) -> None:
    """Remove the oldest files beyond the bounds, but none that a server writes to."""
    oldest = time.time() - max_age_s
    total = 0
    for path in sorted(folder.glob(f"*{SUFFIX}"), reverse=True):  # names begin with a time
        with suppress(OSError):  # gone: another server removes too
            facts = path.stat()
            total += facts.st_size
            if (total > max_bytes or facts.st_mtime < oldest) and _is_free(path):
                path.unlink()


def _is_free(path: Path) -> bool:
    """Whether no server holds the file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
