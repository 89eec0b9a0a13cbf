"""The folder that a model's process may write in: measured while it runs, removed at its end.

The process decides what is in it: a million files, folders thousands deep, names of all kinds.
Nothing here recurses, and nothing follows a link.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from time import sleep

_ROUNDS = 20
_PAUSE_S = 0.1
_BLOCK_BYTES = 512


class Scratch:
    """A new, empty folder below this process' own temporary folder."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="modelyard-child-"))

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
            with suppress(OSError):
                _empty(self.path)
            with suppress(OSError):
                self.path.rmdir()
            if not self.path.exists():
                return
            sleep(_PAUSE_S)


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
