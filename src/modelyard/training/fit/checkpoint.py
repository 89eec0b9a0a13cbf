"""Checkpoints of a fit, and those that an interrupted run left.

    STATE/checkpoints/EXPERIMENT KEY/RUN ID/   checkpoint.pt, lock

`run_folder.py` says what the lock is for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from modelyard.training.fit.loop import DivergedError
from modelyard.training.fit.run_folder import (
    claim,
    interrupted_folders,
    newest_first,
    take_over,
)

_FILE = "checkpoint.pt"
_KEPT = 5


@dataclass(frozen=True)
class InterruptedRun:
    """A run that left a checkpoint; no other process finds it as long as `lock` is open."""

    run_id: str
    epoch: int
    folder: Path
    lock: IO[str]

    def sentence(self) -> str:
        """How far it came."""
        return f"an interrupted run is at epoch {self.epoch}"

    def release(self) -> None:
        """Leave the checkpoint to other processes."""
        self.lock.close()

    def discard(self) -> None:
        """Remove the checkpoint: another run has taken it over."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.lock.close()


class RunCheckpoints:
    """The checkpoint of one run; each replaces the one before it as a whole."""

    def __init__(
        self, folder: Path, earlier: InterruptedRun | None, warn: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._earlier = earlier
        self._warn = warn

    def load(self) -> Mapping[str, Any] | None:
        """The state to resume from; None to start from the beginning."""
        return None if self._earlier is None else _read(self._earlier.folder / _FILE)

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep `state`; if it cannot be written, warn and go on training."""
        fresh = self._folder / f"{_FILE}.new"
        try:
            with fresh.open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._folder / _FILE)
        except (OSError, RuntimeError) as error:  # torch's writer has its own error for a full disk
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            self._warn(f"the checkpoint could not be written to {self._folder}: {error}")
            return
        if self._earlier is not None:  # from now on, this run is the one to resume
            self._earlier.discard()
            self._earlier = None


@contextmanager
def kept_checkpoints(
    root: Path, key: str, run_id: str, earlier: InterruptedRun | None, warn: Callable[[str], None]
) -> Iterator[RunCheckpoints | None]:
    """Checkpoints of the run `run_id` while the block runs.

    They are removed when it ends well, or when a resumed fit would fail in the same way. Yields
    None, with a warning, where `root` cannot be written to.
    """
    folder = root / "checkpoints" / key / run_id
    try:
        lock = claim(folder)
    except OSError as error:
        warn(f"no checkpoints: {root} cannot be written to ({error.strerror})")
        yield None
        return
    with lock:
        # of what interrupted runs left, only the newest checkpoints stay
        left = newest_first((file.parent for file in root.glob(f"checkpoints/*/*/{_FILE}")), _FILE)
        for old in left[_KEPT:]:
            if (abandoned := take_over(old)) is not None:
                with abandoned:
                    shutil.rmtree(old, ignore_errors=True)
        try:
            yield RunCheckpoints(folder, earlier, warn)
        except DivergedError:
            _forget(folder, earlier)
            raise
        _forget(folder, earlier)


def _forget(folder: Path, earlier: InterruptedRun | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if earlier is not None:
        earlier.discard()
    with suppress(OSError):
        folder.parent.rmdir()


def find_interrupted_run(root: Path, key: str) -> InterruptedRun | None:
    """The newest run of this experiment that has a checkpoint and is no longer at work."""
    for folder, lock in interrupted_folders(root / "checkpoints" / key, _FILE):
        if (state := _read(folder / _FILE)) is not None:
            return InterruptedRun(folder.name, int(state["progress"]["epoch"]), folder, lock)
        lock.close()
    return None


def _read(path: Path) -> Mapping[str, Any] | None:
    """The state at `path`, tensors and plain values only; None when it cannot be read."""
    try:
        state: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError):
        return None
    return state
