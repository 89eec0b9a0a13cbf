"""Scores the rows that arrive in one tick of the event loop with one call of the model.

No timer: a lone request is scored at once, where it stands; when the tick before held several,
the rows of this one are collected until its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modelyard.serving.decoder import Row
from modelyard.serving.runner import Predictions
from modelyard.serving.snapshot import Snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting:
    snapshot: Snapshot
    rows: Sequence[Row]
    predictions: asyncio.Future[Predictions]


class TickBatcher:
    """Collects by tick; used from the event loop's thread only.

    Args:
        observe: called with the number of rows of each call of a model.
    """

    def __init__(self, observe: Callable[[int], None]) -> None:
        self._observe = observe
        self._waiting: list[_Waiting] = []
        self._arrived = 0
        self._was_lone = True

    def submit(
        self, snapshot: Snapshot, rows: Sequence[Row]
    ) -> Predictions | asyncio.Future[Predictions]:
        """Predictions for `rows`, now or at the end of this tick."""
        loop = asyncio.get_running_loop()
        self._arrived += 1
        if self._arrived == 1:
            loop.call_soon(self._end_tick)
            if self._was_lone:
                return self._score(snapshot, rows)
        waiting = _Waiting(snapshot, rows, loop.create_future())
        snapshot.usage.enter()
        self._waiting.append(waiting)
        return waiting.predictions

    def _end_tick(self) -> None:
        self._was_lone = self._arrived == 1
        self._arrived = 0
        waiting, self._waiting = self._waiting, []
        groups: dict[int, list[_Waiting]] = {}
        for item in waiting:
            groups.setdefault(id(item.snapshot), []).append(item)
        for group in groups.values():
            self._score_group(group)

    def _score_group(self, group: list[_Waiting]) -> None:
        snapshot = group[0].snapshot
        try:
            predictions = self._score(snapshot, [row for item in group for row in item.rows])
        except Exception as error:  # noqa: BLE001 - each request gets its own answer
            if len(group) == 1:
                _fail(group[0], error)
            else:  # one request's rows must not cost the others theirs
                for item in group:
                    self._score_group([item])
            return
        start = 0
        for item in group:
            end = start + len(item.rows)
            if not item.predictions.done():
                item.predictions.set_result(predictions[start:end])
            start = end
            snapshot.usage.leave()

    def _score(self, snapshot: Snapshot, rows: Sequence[Row]) -> Predictions:
        self._observe(len(rows))
        return snapshot.runner.predict(snapshot.decoder.columns(rows))


def _fail(item: _Waiting, error: Exception) -> None:
    if not item.predictions.done():
        item.predictions.set_exception(error)
    item.snapshot.usage.leave()
