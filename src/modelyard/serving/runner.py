"""What runs a model: columns in, predictions out.

`OnnxRunner` runs in this process. A runner for other flavors, in a process of its own, has the
same three methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Predictions = npt.NDArray[Any]


class RunnerError(Exception):
    """The model raised, or answered something that is no prediction; a defect of the model."""


class Runner(Protocol):
    """One loaded model version; `predict` may be called from several threads."""

    @property
    def description(self) -> str:
        """What runs the model, for `/model`."""

    def predict(self, columns: Mapping[str, npt.NDArray[np.generic]]) -> Predictions:
        """One prediction a row: shape `[n]`, or `[n, classes]` for class probabilities.

        Raises:
            RunnerError: the model failed on these columns.
        """

    def close(self) -> None:
        """Give everything back; no call is under way when this is called."""
