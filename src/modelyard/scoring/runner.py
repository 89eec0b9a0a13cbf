"""What runs a model: columns in, predictions out.

`OnnxRunner` runs in this process, `ChildRunner` in others, which the event loop asks without
waiting (`QueuedRunner`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from modelyard.scoring.column import Column

Predictions = npt.NDArray[Any]


class RunnerError(Exception):
    """The model raised, or answered something that is no prediction; a defect of the model."""


class RunnerLostError(RunnerError):
    """What ran the model ended, or was ended, under this call; the call is not made again."""


class RunnerAbsentError(RunnerError):
    """Nothing runs the model at the moment; this call never reached it."""


class GivenUpError(RunnerError):
    """Nobody waits for this call any more, and it has stopped."""


class Call:
    """One call of a model, which can be given up from another thread while it is under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_given_up = False
        self._end: Callable[[], None] = lambda: None

    def give_up(self) -> None:
        """Nobody waits for it any more: it ends as soon as what runs it can."""
        with self._lock:
            self._is_given_up = True
            end = self._end
        end()

    def check(self) -> None:
        """Between two parts of it: raise GivenUpError when nobody waits for the next one."""
        if self._is_given_up:
            raise GivenUpError("nobody waits for this call any more")

    def on_give_up(self, end: Callable[[], None]) -> None:
        """From now on, call `end` when it is given up; raises GivenUpError when it was already."""
        with self._lock:
            self._end = end
        self.check()


class Runner(Protocol):
    """One loaded model version; `predict` may be called from several threads."""

    @property
    def description(self) -> str:
        """What runs the model, for `/model`."""

    def predict(self, columns: Mapping[str, Column], call: Call | None = None) -> Predictions:
        """One prediction a row: shape `[n]`, or `[n, classes]` for class probabilities.

        Args:
            columns: one for each feature.
            call: ends this early when it is given up.

        Raises:
            RunnerError: the model failed on these columns; GivenUpError when `call` was given up.
        """

    def interrupt(self) -> None:
        """End what is under way in this process without a `Call`: it raises RunnerError."""

    def close(self) -> None:
        """Give everything back; no call is under way when this is called."""


class QueuedRunner(Protocol):
    """A runner elsewhere, that the event loop asks without waiting; used from its thread only."""

    @property
    def batch_rows(self) -> int:
        """Rows that one call should have at most, as fast as the model is."""

    @property
    def is_idle(self) -> bool:
        """Whether `begin` may be called."""

    @property
    def is_absent(self) -> bool:
        """Whether nothing runs the model, and nothing will soon."""

    @property
    def failure(self) -> str:
        """Why this model should not be served any more; empty while it should."""

    def on_failure(self, tell: Callable[[], None]) -> None:
        """Call `tell`, from any thread, whenever there is a new `failure`."""

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake`, in this event loop, whenever one of the above may have changed."""

    def begin(
        self,
        columns: Mapping[str, Column],
        done: Callable[[Predictions | RunnerError], None],
    ) -> None:
        """Predict; `done` is called with what comes of it, in this event loop."""
