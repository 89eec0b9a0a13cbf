"""A model version as the gate asks it: opened by `scoring`, so the way that serving opens it.

The gate judges what is served, not what was fitted: candidate and champion both come from the
files of their version, ONNX on one thread in this process, any other flavor in a child.
"""

from __future__ import annotations

import time

import numpy as np
import polars as pl

from modelyard.contract import Contract
from modelyard.errors import ModelRefusedError
from modelyard.scoring.bundle import Bundle
from modelyard.scoring.column import Columns
from modelyard.scoring.runner import RunnerError

_CALLS = 300
_ROUNDS = 3
_LONGEST_ROUND_S = 2.0


class ServedModel:
    """An opened version that answers whole test sets; the caller closes `bundle`."""

    def __init__(self, bundle: Bundle) -> None:
        self._runner = bundle.runner
        self.contract: Contract = bundle.contract

    def predict(self, columns: Columns) -> np.ndarray:
        """Predictions [n], or [n, classes] for class probabilities.

        Raises:
            ModelRefusedError: it fails on these rows, or an answer is not finite.
        """
        try:
            answer = self._runner.predict(columns)
        except RunnerError as error:
            raise ModelRefusedError(f"It fails on these rows: {error}.") from error
        if not np.isfinite(answer).all():
            raise ModelRefusedError("It answers some of these rows with no finite number.")
        return answer

    def columns(self, data: pl.DataFrame) -> Columns:
        """The features of `data` as this model's contract types them.

        Raises:
            ModelRefusedError: `data` lacks a feature, or holds it as another kind of column.
        """
        if missing := [name for name in self.contract.names if name not in data.columns]:
            raise ModelRefusedError(f"The test set has no column {', '.join(missing)}.")
        try:
            return {
                feature.name: data[feature.name].to_numpy().astype(feature.type.dtype, copy=False)
                for feature in self.contract.features
            }
        except (ValueError, TypeError) as error:
            raise ModelRefusedError(f"The test set's columns do not fit: {error}.") from error

    def latency_p99_ms(self) -> float:
        """99th percentile of the time for the contract's example, one row, in milliseconds.

        The best of three rounds: what the machine did beside it is not the model's.
        """
        example = {
            f.name: np.array([self.contract.example[f.name]], dtype=f.type.dtype)
            for f in self.contract.features
        }
        self._round_p99_ms(example)  # the first calls are slower
        return min(self._round_p99_ms(example) for _ in range(_ROUNDS))

    def _round_p99_ms(self, example: Columns) -> float:
        seconds: list[float] = []
        while len(seconds) < _CALLS and sum(seconds) < _LONGEST_ROUND_S:
            begin = time.perf_counter()
            self.predict(example)
            seconds.append(time.perf_counter() - begin)
        return float(np.percentile(seconds, 99)) * 1000
