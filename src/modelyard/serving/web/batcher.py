"""Scores the rows that arrive in one tick of the event loop with one call of the model.

No timer: a lone request is scored at once, where it stands; when the tick before held several,
the rows of this one are collected until its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple, cast

import numpy as np

from modelyard.scoring.rows.decoder import Columns, Row, Table, row_count
from modelyard.scoring.runner import Predictions
from modelyard.serving.model.snapshot import Snapshot

Done = Callable[[Predictions | Exception], None]
"""Takes what came of a request's rows; it must not raise."""


class _Waiting(NamedTuple):
    snapshot: Snapshot
    table: Table
    done: Done


class TickBatcher:
    """Collects by tick; used from the event loop's thread only.

    Args:
        observe: called with the number of rows of each call of a model.
        settle: called when all that was scored together is done.
    """

    def __init__(self, observe: Callable[[int], None], settle: Callable[[], None]) -> None:
        self._observe = observe
        self._settle = settle
        self._waiting: list[_Waiting] = []
        self._arrived = 0
        self._was_lone = True

    def submit(self, snapshot: Snapshot, table: Table, done: Done) -> None:
        """Call `done` with predictions for the rows of `table`, now or at the end of this tick."""
        self._arrived += 1
        if self._arrived == 1:
            asyncio.get_running_loop().call_soon(self._end_tick)
            if self._was_lone:
                self._score_group([_Waiting(snapshot, table, done)])
                self._settle()
                return
        snapshot.usage.enter()
        self._waiting.append(_Waiting(snapshot, table, done))

    def flush(self) -> None:
        """Score what waits now, before the tick ends."""
        waiting, self._waiting = self._waiting, []
        for _, group in groupby(waiting, key=_kind):
            self._score_group(list(group))
        self._settle()
        for item in waiting:
            item.snapshot.usage.leave()

    def _end_tick(self) -> None:
        self._was_lone = self._arrived == 1
        self._arrived = 0
        self.flush()

    def _score_group(self, group: list[_Waiting]) -> None:
        snapshot = group[0].snapshot
        try:
            predictions = self._score(snapshot, _join([item.table for item in group]))
        except Exception as error:  # noqa: BLE001 - each request gets its own answer
            if len(group) == 1:
                group[0].done(error)
            else:  # one request's rows must not cost the others theirs
                for item in group:
                    self._score_group([item])
            return
        start = 0
        for item in group:
            end = start + row_count(item.table)
            item.done(predictions[start:end])
            start = end

    def _score(self, snapshot: Snapshot, table: Table) -> Predictions:
        if isinstance(table, dict):
            self._observe(row_count(table))
            return snapshot.runner.predict(table)
        self._observe(len(table))
        return snapshot.runner.predict(snapshot.decoder.columns(table))


def _kind(item: _Waiting) -> tuple[Snapshot, bool]:
    """What the items of one call have in common."""
    return item.snapshot, type(item.table) is dict


def _join(tables: list[Table]) -> Table:
    """One table of several that are all rows, or all columns."""
    if len(tables) == 1:
        return tables[0]
    if isinstance(tables[0], dict):
        columns = cast("list[Columns]", tables)
        return {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}
    return [row for rows in cast("list[Sequence[Row]]", tables) for row in rows]
