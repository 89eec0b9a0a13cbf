"""A file system of its own that is small, and can really be full."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_libc = ctypes.CDLL(None, use_errno=True)
_DETACH = 2
_PAGE = bytes(4096)


class SmallDisk:
    """A tmpfs at `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave no room, to the last page."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(_PAGE)
            except OSError:
                return

    def clear(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, size_kb: int = 1024) -> Iterator[SmallDisk]:
    """A disk of this size at `folder`; the test is skipped where none can be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size_kb}k,mode=0777".encode()
    if _libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options):
        why = os.strerror(ctypes.get_errno())
        pytest.skip(f"no file system can be mounted here ({why}): run as root")
    try:
        yield SmallDisk(folder)
    finally:
        _libc.umount2(os.fsencode(folder), _DETACH)
