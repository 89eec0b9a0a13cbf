"""One version being loaded, which ends early when it is not the wanted one any more."""

from __future__ import annotations

import asyncio
import threading

from modelyard.contract import Contract
from modelyard.registry import ModelVersion
from modelyard.scoring.daemon import in_daemon
from modelyard.serving.following.loader import Loader
from modelyard.serving.model.holder import retire
from modelyard.serving.model.snapshot import Snapshot


class Loading:
    """A load in a thread of its own. Used from the event loop's thread only."""

    def __init__(self, loader: Loader, version: ModelVersion, served: Contract | None) -> None:
        """Begin; arguments as of `Loader.load`."""
        self._abandoned = abandoned = threading.Event()
        self._task = asyncio.ensure_future(
            in_daemon(lambda: loader.load(version, served, abandoned), "load")
        )

    async def is_done_within(self, seconds: float) -> bool:
        """Whether it has ended, waiting so long for it; being cancelled abandons it."""
        try:
            done, _ = await asyncio.wait({self._task}, timeout=seconds)
        except asyncio.CancelledError:
            self.abandon()
            raise
        return bool(done)

    def result(self) -> Snapshot:
        """What was loaded, once it has ended; raises what loading raised."""
        return self._task.result()

    def abandon(self) -> bool:
        """Load for nothing, and end early; False when it has ended already."""
        if self._task.done():
            return False
        self._abandoned.set()
        self._task.add_done_callback(_retire)
        return True


def _retire(task: asyncio.Task[Snapshot]) -> None:
    """Close what was loaded for nothing, as a model that was served."""
    if not task.cancelled() and task.exception() is None:
        retire(task.result())
