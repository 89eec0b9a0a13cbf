"""A folder that belongs to one run for as long as it lives.

The kernel frees a lock when the process that holds it dies, however it dies. So a lock tells the
folder of an interrupted run from that of one at work, and two runs never take the same folder.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol, TypeVar

from modelyard.program import Echo

_LOCK = "lock"


class Interrupted(Protocol):
    """What a run left behind that ended too early."""

    def sentence(self) -> str:
        """What was found, and how far it came."""
        ...

    def release(self) -> None:
        """Leave it to others."""
        ...


Found = TypeVar("Found", bound=Interrupted)


def claim(folder: Path) -> IO[str]:
    """Make `folder`, which must not exist; it is ours until the lock is closed.

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


def newest_first(folders: Iterable[Path], file: str) -> list[Path]:
    """`folders` by the time when `file` in them was written; those without it come last."""

    def written(folder: Path) -> float:
        with suppress(OSError):
            return (folder / file).stat().st_mtime
        return 0.0

    return sorted(folders, key=written, reverse=True)


def interrupted_folders(parent: Path, file: str) -> Iterator[tuple[Path, IO[str]]]:
    """The folders in `parent` of runs that are no longer at work, newest `file` first.

    Each comes with its lock, for the caller to keep or to close.
    """
    for folder in newest_first(parent.glob("*"), file):
        if (lock := take_over(folder)) is not None:
            yield folder, lock


def to_resume(found: Found | None, what: str, echo: Echo, *, resume: bool) -> Found | None:
    """`found` if it is to be resumed; if not, it is released. `echo` shows which.

    Args:
        what: what was looked for, a run or a search.
    """
    if found is None:
        if resume:
            echo(f"resume    found no interrupted {what} of this experiment: starting a new one")
        return None
    if not resume:
        echo(f"note      {found.sentence()}: --resume goes on with it")
        found.release()
        return None
    return found
