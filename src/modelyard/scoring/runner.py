"""What runs a model: columns in, predictions out.

`OnnxRunner` runs in this process, `ChildRunner` in others, which the event loop asks without
waiting (`QueuedRunner`).
"""

from __future__ import annotations

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


class Runner(Protocol):
    """One loaded model version; `predict` may be called from several threads."""

    @property
    def description(self) -> str:
        """What runs the model, for `/model`."""

    def predict(self, columns: Mapping[str, Column]) -> Predictions:
        """One prediction a row: shape `[n]`, or `[n, classes]` for class probabilities.

        Raises:
            RunnerError: the model failed on these columns.
        """

    def interrupt(self) -> None:
        """End the calls that are under way in this process: they raise RunnerError."""

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
