"""A folder that belongs to one run for as long as it lives.

A lock that the kernel lets go when a process dies, however it dies, tells the folder of an
interrupted run from that of one that is still at work: two never take each other's.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

_LOCK = "lock"


def claim(folder: Path) -> IO[str]:
    """Make `folder`, which is there for nobody yet; it is ours until the lock is closed.

    Raises:
        OSError: it cannot be made or written to.
    """
    folder.mkdir(parents=True)
    lock = (folder / _LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return lock


def take_over(folder: Path) -> IO[str] | None:
    """The lock of a run that is no longer at work; None for one that is, or that has none."""
    try:
        lock = (folder / _LOCK).open("r+")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock
