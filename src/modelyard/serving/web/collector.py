"""Micro-batches for models that run elsewhere: at once while idle, collected while busy.

A child that is idle is asked at once, and whatever comes while it works is its next batch. Where
many ask at the same time, a batch waits a moment for those who were answered just now and are about
to ask again: a call costs much more than a row.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from time import perf_counter
from typing import cast
from weakref import WeakKeyDictionary

import numpy as np

from modelyard.scoring.rows.decoder import Columns, Row, RowDecoder, Table, row_count
from modelyard.scoring.runner import (
    Predictions,
    QueuedRunner,
    RunnerAbsentError,
    RunnerError,
    RunnerLostError,
)
from modelyard.serving.model.snapshot import Snapshot

_FEW = 8
"""Requests at the same time that are not worth waiting for."""

_LONGEST_WAIT_S = 0.005
_WAIT_SHARE = 0.5
"""A batch waits for its last requests half as long as the last call took, at most."""


class _Waiting:
    """The rows of one request."""

    __slots__ = ("alone", "predictions", "rows", "table")

    def __init__(self, table: Table, predictions: asyncio.Future[Predictions]) -> None:
        self.table = table
        self.rows = row_count(table)
        self.predictions = predictions
        self.alone = False


class Collector:
    """Collects for every snapshot that is served; used from the event loop's thread only.

    Args:
        observe: called with the number of rows of each call of a model.
    """

    def __init__(self, observe: Callable[[int], None]) -> None:
        self._observe = observe
        self._queues: WeakKeyDictionary[Snapshot, _Queue] = WeakKeyDictionary()

    def submit(self, snapshot: Snapshot, table: Table) -> asyncio.Future[Predictions]:
        """Predictions for the rows of `table`; fails with RunnerError."""
        queue = self._queues.get(snapshot)
        if queue is None:
            runner = snapshot.queued
            assert runner is not None  # or the snapshot would not be asked here
            queue = self._queues[snapshot] = _Queue(runner, snapshot.decoder, self._observe)
        snapshot.usage.enter()
        predictions = queue.add(table)
        predictions.add_done_callback(lambda _: snapshot.usage.leave())
        return predictions


class _Queue:
    """What waits for one runner."""

    def __init__(
        self, runner: QueuedRunner, decoder: RowDecoder, observe: Callable[[int], None]
    ) -> None:
        self._runner = runner
        self._decoder = decoder
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._asked = 0
        self._expected = 0
        self._last_call_s = 0.0
        runner.subscribe(self._wake)

    def add(self, table: Table) -> asyncio.Future[Predictions]:
        """Predictions for the rows of `table`, when their turn has come."""
        item = _Waiting(table, self._loop.create_future())
        self._waiting.append(item)
        self._pump()
        return item.predictions

    def _wake(self) -> None:
        """A child is idle again, or things have changed otherwise."""
        self._expected = self._asked + len(self._waiting)
        self._pump()

    def _pump(self) -> None:
        """Ask as many idle children as there is work for; fail everybody when there are none."""
        if not self._runner.is_idle:
            if self._waiting and self._runner.is_absent:
                self._fail_all()
        elif len(self._waiting) >= self._expected or self._expected < _FEW:
            self._go()
        elif self._timer is None:
            wait_s = min(_LONGEST_WAIT_S, self._last_call_s * _WAIT_SHARE)
            self._timer = self._loop.call_later(wait_s, self._go)

    def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._runner.is_idle:
            if batch := self._next_batch():
                self._start(batch)

    def _fail_all(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for item in waiting:
            _fail(item, RunnerAbsentError("no process runs the model"))

    def _next_batch(self) -> list[_Waiting]:
        """Whoever waits longest, and still waits, up to the rows of one call."""
        batch: list[_Waiting] = []
        rows, most = 0, self._runner.batch_rows
        while self._waiting:
            item = self._waiting[0]
            if item.predictions.done():  # its deadline has passed, or its client has gone
                self._waiting.popleft()
                continue
            rows += item.rows
            if batch and (rows > most or item.alone):
                break
            batch.append(self._waiting.popleft())
            if item.alone:
                break
        return batch

    def _start(self, batch: list[_Waiting]) -> None:
        started = perf_counter()
        self._observe(sum(item.rows for item in batch))

        def done(outcome: Predictions | RunnerError) -> None:
            self._last_call_s = perf_counter() - started
            self._asked -= len(batch)
            self._end(batch, outcome)

        self._asked += len(batch)
        self._runner.begin(self._join(batch), done)

    def _join(self, batch: list[_Waiting]) -> Columns:
        """The columns of all of `batch`; one conversion for those that are rows."""
        tables: list[Columns] = []
        for is_columns, group in groupby(batch, key=lambda item: isinstance(item.table, dict)):
            if is_columns:
                tables += [cast("Columns", item.table) for item in group]
            else:
                rows = [row for item in group for row in cast("Sequence[Row]", item.table)]
                tables.append(self._decoder.columns(rows))
        if len(tables) == 1:
            return tables[0]
        return {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}

    def _end(self, batch: list[_Waiting], outcome: Predictions | RunnerError) -> None:
        if isinstance(outcome, RunnerError):
            if len(batch) > 1 and not isinstance(outcome, RunnerLostError):
                self._ask_each_alone(batch)
                return
            for item in batch:
                _fail(item, outcome)
            return
        start = 0
        for item in batch:
            end = start + item.rows
            if not item.predictions.done():
                item.predictions.set_result(outcome[start:end])
            start = end

    def _ask_each_alone(self, batch: list[_Waiting]) -> None:
        """One request's rows must not cost the others theirs."""
        for item in reversed(batch):
            item.alone = True
            self._waiting.appendleft(item)
        self._loop.call_soon(self._go)


def _fail(item: _Waiting, error: RunnerError) -> None:
    if not item.predictions.done():
        item.predictions.set_exception(error)
