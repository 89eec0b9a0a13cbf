"""The folder that a model's process may write in: measured while it runs, removed at its end.

The process decides what is in it: a million files, folders thousands deep, names of all kinds.
Nothing here recurses, and nothing follows a link. A server that is killed leaves folders behind,
unlocked, and the next one that starts removes them.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from time import sleep

_ROUNDS = 20
_PAUSE_S = 0.1
_BLOCK_BYTES = 512
_PREFIX = "modelyard-child-"


class Scratch:
    """A new, empty folder below this process' own temporary folder."""

    def __init__(self) -> None:
        remove_abandoned()
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def holds_more(self, limit_bytes: int, limit_entries: int) -> bool:
        """Whether there is more in it; also when its folders are too deep to look into."""
        held_bytes = entries = 0
        folders = [os.fspath(self.path)]
        while folders:
            try:
                with os.scandir(folders.pop()) as listing:
                    for entry in listing:
                        entries += 1
                        held_bytes += entry.stat(follow_symlinks=False).st_blocks * _BLOCK_BYTES
                        if held_bytes > limit_bytes or entries > limit_entries:
                            return True
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(entry.path)
            except (FileNotFoundError, NotADirectoryError):
                continue  # the process is at work
            except OSError:  # too deep, or made so that it cannot be read
                return True
        return False

    def remove(self) -> None:
        """Remove it with all that is in it; processes that write there still may be ending."""
        for _ in range(_ROUNDS):
            _remove(self.path)
            if not self.path.exists():
                break
            sleep(_PAUSE_S)
        with suppress(OSError):  # the second time
            os.close(self._lock)


@cache
def remove_abandoned() -> None:
    """Remove, once a process, the folders of servers that are gone: nobody holds their locks."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, or another server removes it
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(lock)


def _remove(path: Path) -> None:
    with suppress(OSError):
        _empty(path)
    with suppress(OSError):
        path.rmdir()


def _empty(top: Path) -> None:
    """Remove what is in `top`: a folder that holds something is taken apart at the top itself."""
    number, token = 0, secrets.token_hex(8)
    while names := os.listdir(top):  # noqa: PTH208 - names are enough, and there may be many
        for name in names:
            path = os.path.join(top, name)  # noqa: PTH118
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108
                continue
            with suppress(OSError):
                os.rmdir(path)  # noqa: PTH106
                continue
            os.chmod(path, 0o700)  # noqa: PTH101 - it may have been made so that it cannot be read
            for inner in os.listdir(path):  # noqa: PTH208
                number += 1
                os.rename(os.path.join(path, inner), os.path.join(top, f"{token}.{number}"))  # noqa: PTH104, PTH118
