"""Scores the rows that arrive in one tick of the event loop with one call of the model.

No timer: a lone request is scored at once, where it stands; when the tick before held several,
the rows of this one are collected until its end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter

from modelyard.scoring.rows.decoder import Table, row_count
from modelyard.scoring.runner import GivenUpError
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.web.joining import Outcome, cut, join

log = logging.getLogger(__name__)

OnOutcome = Callable[[Outcome], None]
_NOBODY_WAITS = GivenUpError("nobody waits for these rows any more")


def _never() -> bool:
    return False


class TickBatcher:
    """Collects by tick; used from the event loop's thread only.

    Args:
        observe: called with the number of rows of each call of a model.
        settle: called when all that was scored together is done; it must not raise.
    """

    def __init__(self, observe: Callable[[int], None], settle: Callable[[], None]) -> None:
        self._observe = observe
        self._settle = settle
        self._waiting: list[tuple[Snapshot, Table, OnOutcome, Callable[[], bool]]] = []
        self._arrived = 0
        self._was_lone = True

    def submit(
        self,
        snapshot: Snapshot,
        table: Table,
        on_outcome: OnOutcome,
        is_over: Callable[[], bool] = _never,
    ) -> None:
        """Call `on_outcome` once, now or at the end of this tick, for the rows of `table`.

        Those of a request that `is_over` by then are not scored: it gets GivenUpError.
        """
        self._arrived += 1
        if self._arrived == 1:
            asyncio.get_running_loop().call_soon(self._end_tick)
            if self._was_lone:
                self._score(snapshot, (table,), (on_outcome,))
                self._settle()
                return
        snapshot.usage.enter()
        self._waiting.append((snapshot, table, on_outcome, is_over))

    def flush(self) -> None:
        """Score what waits now, before the tick ends."""
        waiting, self._waiting = self._waiting, []
        for snapshot, group in groupby(waiting, key=itemgetter(0)):
            tables, callbacks = [], []
            for _, table, on_outcome, is_over in group:
                if is_over():
                    _pass_on(_NOBODY_WAITS, on_outcome)
                else:
                    tables.append(table)
                    callbacks.append(on_outcome)
            if tables:
                self._score(snapshot, tables, callbacks)
        self._settle()
        for snapshot, *_ in waiting:
            snapshot.usage.leave()

    def _end_tick(self) -> None:
        self._was_lone = self._arrived == 1
        self._arrived = 0
        self.flush()

    def _score(
        self, snapshot: Snapshot, tables: Sequence[Table], callbacks: Sequence[OnOutcome]
    ) -> None:
        """Score the rows of all `tables` together, and give each callback what is its own."""
        try:
            columns = join(tables, snapshot.decoder)
            self._observe(row_count(columns))
            predictions = snapshot.runner.predict(columns)
        except Exception as error:  # noqa: BLE001 - each request gets its own answer
            if len(tables) == 1:
                _pass_on(error, callbacks[0])
                return
            for table, on_outcome in zip(tables, callbacks, strict=True):
                self._score(snapshot, (table,), (on_outcome,))
            return
        if len(tables) == 1:
            _pass_on(predictions, callbacks[0])
            return
        for part, on_outcome in zip(cut(predictions, tables), callbacks, strict=True):
            _pass_on(part, on_outcome)


def _pass_on(outcome: Outcome, on_outcome: OnOutcome) -> None:
    """A defect in what one request does with its outcome must not cost the others theirs."""
    try:
        on_outcome(outcome)
    except Exception:
        log.exception("What came of a request could not be passed on.")
