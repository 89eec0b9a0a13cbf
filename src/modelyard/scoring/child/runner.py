"""Runs a model in children: threads ask and wait, the event loop begins and is called back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from modelyard.contract import Output
from modelyard.scoring.answers import as_predictions
from modelyard.scoring.child import wire
from modelyard.scoring.child.channel import Channel
from modelyard.scoring.child.pool import ChildPool
from modelyard.scoring.child.process import ChildProcess, predictions
from modelyard.scoring.child.supervision import Pace
from modelyard.scoring.column import Column
from modelyard.scoring.runner import Call, Predictions, RunnerError, RunnerLostError

_LARGEST_PART_ROWS = 8192
_FULL_SHARE = 0.9
"""A child that holds this share of its memory limit is replaced before an allocation fails."""

PredictionsCallback = Callable[[Predictions | RunnerError], None]


@dataclass(frozen=True)
class RunnerLimits:
    """How a model in children is asked.

    Args:
        memory_bytes: what a child may hold; 0 for no limit.
        batch_rows: most rows of several requests that one is given at once.
        row_s: seconds that one row may take.
        call_s: seconds that a call may take, whatever its rows.
    """

    memory_bytes: int
    batch_rows: int
    row_s: float
    call_s: float

    def seconds(self, rows: int) -> float:
        """What a call may take: each row its time, up to the limit of a call."""
        return min(self.call_s, self.row_s * rows)


class ChildRunner:
    """A `Runner` whose model is in children.

    Args:
        description: what runs the model.
        pool: the children.
        names: the columns in the order in which children want them.
        output: what the model answers.
        limits: see `RunnerLimits`.
        release: called when no child will need the model's files any more.
    """

    def __init__(
        self,
        description: str,
        pool: ChildPool,
        names: list[str],
        output: Output,
        limits: RunnerLimits,
    ) -> None:
        self.description = description
        self._pool = pool
        self._names = names
        self._output = output
        self._limits = limits
        self._pace = Pace()
        self._release: Callable[[], None] = lambda: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: Callable[[], None] = lambda: None
        self._channels: dict[ChildProcess, Channel] = {}

    @property
    def failure(self) -> str:
        """Why this model should not be served any more; empty while it should."""
        return self._pool.failure

    def on_failure(self, tell: Callable[[], None]) -> None:
        """Call `tell`, from any thread, whenever there is a new `failure`."""
        self._pool.on_failure = tell

    def on_close(self, release: Callable[[], None]) -> None:
        """Call `release` when no child will need the model's files any more."""
        self._release = release

    def interrupt(self) -> None:
        """Nothing: calls are in other processes, and end in time by themselves."""

    def close(self) -> None:
        """End every child."""
        self._pool.close()
        self._release()

    # -- for threads -----------------------------------------------------------------------------

    def predict(self, columns: Mapping[str, Column], call: Call | None = None) -> Predictions:
        """One prediction a row, blocking; many rows go in parts, between which others get a turn.

        Raises:
            RunnerError: the model failed; RunnerLostError when its process ended over it;
                GivenUpError between two parts of a `call` that was given up.
        """
        rows = len(columns[self._names[0]])
        parts: list[Predictions] = []
        start = 0
        while start < rows:
            if call is not None:
                call.check()
            end = start + self._pace.rows(_LARGEST_PART_ROWS)
            parts.append(self._predict_part({n: columns[n][start:end] for n in self._names}))
            start = end
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _predict_part(self, columns: Mapping[str, Column]) -> Predictions:
        rows = len(columns[self._names[0]])
        child = self._pool.free(self._limits.call_s)
        started = perf_counter()
        try:
            answer = child.ask(wire.ask(columns, self._names), self._limits.seconds(rows))
        except RunnerLostError as error:
            self._pace.record(rows, perf_counter() - started)
            self._pool.lose(child, str(error))
            raise
        return self._predictions_of(child, answer, rows, perf_counter() - started)

    # -- for the event loop ----------------------------------------------------------------------

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` in this event loop whenever `begin` may be possible again; once a runner."""
        self._loop = asyncio.get_running_loop()
        self._wake = wake
        for child in self._pool.subscribe(self):
            self._open(child)

    @property
    def batch_rows(self) -> int:
        """Rows that one call should have at most, as fast as the model is."""
        return self._pace.rows(self._limits.batch_rows)

    @property
    def is_idle(self) -> bool:
        """Whether `begin` would begin."""
        return any(channel.is_idle for channel in self._channels.values())

    @property
    def is_absent(self) -> bool:
        """Whether there is no child, and none is being started."""
        return self._pool.is_empty

    def begin(self, columns: Mapping[str, Column], done: PredictionsCallback) -> None:
        """Let an idle child predict; `done` is called with the predictions or the error."""
        child, channel = next(item for item in self._channels.items() if item[1].is_idle)
        rows = len(columns[self._names[0]])
        started = perf_counter()

        def answered(answer: wire.Answer | RunnerError) -> None:
            if isinstance(answer, RunnerError):
                self._pace.record(rows, perf_counter() - started)
                done(answer)
                return
            try:
                result = self._predictions_of(child, answer, rows, perf_counter() - started)
            except RunnerError as error:
                done(error)
            except Exception as error:  # noqa: BLE001 - whatever a child answers, its batch ends
                done(RunnerError(f"the answer cannot be read: {type(error).__name__}"))
            else:
                done(result)

        channel.ask(wire.ask(columns, self._names), self._limits.seconds(rows), answered)

    def child_started(self, child: ChildProcess) -> None:
        """Open a channel to `child`."""
        self._in_loop(self._open, child)

    def child_ended(self, child: ChildProcess) -> None:
        """Close its channel."""
        self._in_loop(self._drop, child)

    def child_replaced(self, child: ChildProcess) -> None:
        """Close its channel once it has answered, and end it."""
        self._in_loop(self._retire, child)

    def failed(self) -> None:
        """Let waiting requests see whether any child is left."""
        self._in_loop(self._wake)

    def _in_loop(self, call: Callable[..., None], *arguments: ChildProcess) -> None:
        assert self._loop is not None  # it has subscribed
        with suppress(RuntimeError):  # the loop has ended, and the server with it
            self._loop.call_soon_threadsafe(call, *arguments)

    def _open(self, child: ChildProcess) -> None:
        if not child.is_ended:
            self._channels[child] = Channel(child, self._wake, self._pool.lose)
        self._wake()

    def _drop(self, child: ChildProcess) -> None:
        channel = self._channels.pop(child, None)
        if channel is not None:
            channel.close()
        self._wake()

    def _retire(self, child: ChildProcess) -> None:
        channel = self._channels.pop(child, None)
        if channel is None:
            child.dismiss()
        else:
            channel.retire()

    def _predictions_of(
        self, child: ChildProcess, answer: wire.Answer, rows: int, seconds: float
    ) -> Predictions:
        self._pace.record(rows, seconds)
        limit = self._limits.memory_bytes
        if limit and answer.resident_bytes > _FULL_SHARE * limit:
            self._pool.replace_child(
                child, f"it holds {answer.resident_bytes >> 20} MiB of {limit >> 20}"
            )
        return as_predictions(predictions(answer), rows, self._output)
