"""Micro-batches for models that run elsewhere: at once while idle, collected while busy.

An idle child is asked at once, and what arrives while it works is its next batch. Under many
concurrent requests a batch waits a moment for clients that have just been answered and are about to
ask again: a call costs much more than a row.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import perf_counter
from weakref import WeakKeyDictionary

from modelyard.scoring.rows.decoder import RowDecoder, Table, row_count
from modelyard.scoring.runner import (
    Predictions,
    QueuedRunner,
    RunnerAbsentError,
    RunnerLostError,
)
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.web.joining import Outcome, cut, join, resolve

_FEW = 8
"""So few concurrent requests are not worth waiting for."""

_LONGEST_WAIT_S = 0.005
_WAIT_SHARE = 0.5
"""A batch waits at most this share of the time that the last call took."""


class Request:
    """The rows of one request.

    Attributes:
        predictions: what is waited for; fails with RunnerError, and may be cancelled.
        call: done when the call that has them ends; None while they wait for one.
        is_alone: when they must not share a call.
    """

    __slots__ = ("call", "is_alone", "predictions", "rows", "table")

    def __init__(self, table: Table, predictions: asyncio.Future[Predictions]) -> None:
        self.table = table
        self.rows = row_count(table)
        self.predictions = predictions
        self.call: asyncio.Future[None] | None = None
        self.is_alone = False


class Collector:
    """Collects for every snapshot that is served; used from the event loop's thread only.

    Args:
        observe: called with the number of rows of each call of a model.
    """

    def __init__(self, observe: Callable[[int], None]) -> None:
        self._observe = observe
        self._queues: WeakKeyDictionary[Snapshot, _Queue] = WeakKeyDictionary()

    def submit(self, snapshot: Snapshot, table: Table) -> Request:
        """Ask for the rows of `table`."""
        queue = self._queues.get(snapshot)
        if queue is None:
            runner = snapshot.queued
            assert runner is not None  # or the snapshot would not be asked here
            queue = self._queues[snapshot] = _Queue(runner, snapshot.decoder, self._observe)
        request = queue.add(table)
        snapshot.usage.enter()
        request.predictions.add_done_callback(lambda _: snapshot.usage.leave())
        return request


class _Queue:
    """The requests that wait for one runner."""

    def __init__(
        self, runner: QueuedRunner, decoder: RowDecoder, observe: Callable[[int], None]
    ) -> None:
        self._runner = runner
        self._decoder = decoder
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Request] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._asked = 0
        self._expected = 0
        self._last_call_s = 0.0
        runner.subscribe(self._wake)

    def add(self, table: Table) -> Request:
        """Ask for the rows of `table`, when their turn has come."""
        request = Request(table, self._loop.create_future())
        self._waiting.append(request)
        self._pump()
        if request.call is None:
            request.predictions.add_done_callback(partial(self._drop, request))
        return request

    def _drop(self, request: Request, predictions: asyncio.Future[Predictions]) -> None:
        """A request that was given up while it waited is not kept until its turn comes."""
        if predictions.cancelled() and request.call is None:
            with suppress(ValueError):
                self._waiting.remove(request)

    def _wake(self) -> None:
        """A child is idle again, or something else about the runner has changed."""
        self._expected = self._asked + len(self._waiting)
        self._pump()

    def _pump(self) -> None:
        """Ask as many idle children as there is work for; fail all when there is no child."""
        if not self._runner.is_idle:
            if self._waiting and self._runner.is_absent:
                waiting, self._waiting = self._waiting, deque()
                for request in waiting:
                    resolve(request.predictions, RunnerAbsentError("no process runs the model"))
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
                self._ask(batch)

    def _next_batch(self) -> list[Request]:
        """The requests that wait longest, up to the rows of one call; drops abandoned ones."""
        batch: list[Request] = []
        rows, most = 0, self._runner.batch_rows
        while self._waiting:
            request = self._waiting[0]
            if request.predictions.done():  # its deadline has passed, or its client has gone
                self._waiting.popleft()
                continue
            rows += request.rows
            if batch and (rows > most or request.is_alone):
                break
            batch.append(self._waiting.popleft())
            if request.is_alone:
                break
        return batch

    def _ask(self, batch: list[Request]) -> None:
        """Let an idle child predict for `batch`; whatever fails, each of them gets its outcome."""
        tables = [request.table for request in batch]
        started = perf_counter()
        is_done = False
        call: asyncio.Future[None] = self._loop.create_future()
        for request in batch:
            request.call = call

        def done(outcome: Outcome) -> None:
            nonlocal is_done
            if is_done:  # `begin` raised after it had begun
                return
            is_done = True
            self._last_call_s = perf_counter() - started
            self._asked -= len(batch)
            call.set_result(None)
            if not isinstance(outcome, Exception):
                for request, part in zip(batch, cut(outcome, tables), strict=True):
                    resolve(request.predictions, part)
            elif len(batch) > 1 and not isinstance(outcome, RunnerLostError):
                for request in reversed(
                    batch
                ):  # one request's rows must not cost the others theirs
                    request.is_alone, request.call = True, None
                    self._waiting.appendleft(request)
                self._loop.call_soon(self._go)
            else:
                for request in batch:
                    resolve(request.predictions, outcome)

        self._asked += len(batch)
        try:
            columns = join(tables, self._decoder)
            self._observe(row_count(columns))
            self._runner.begin(columns, done)
        except Exception as error:  # noqa: BLE001 - each request gets its own answer
            done(error)
