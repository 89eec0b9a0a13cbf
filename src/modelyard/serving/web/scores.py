"""The distribution of what the served model answers, for `/metrics`.

A request copies its predictions into a buffer, which costs it a third of a microsecond; the buffer
is counted when it is full, and when Prometheus asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from prometheus_client.core import HistogramMetricFamily

from modelyard.contract import Output, OutputKind
from modelyard.scoring.runner import Predictions
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.model.tenure import Tenure

_NAME = "modelyard_prediction_scores"
_BUFFER_NUMBERS = 4096
_MAX_CLASSES = 32
"""More classes are counted as one: each would be twenty more lines for Prometheus."""

_TWENTIETHS = tuple(round(0.05 * step, 2) for step in range(1, 21))
# only the user knows which values to expect: a thousandth to a billion, five steps a decade
_STEPS = tuple(float(f"{10 ** (step / 5):.2g}") for step in range(-15, 46))
_VALUES = (*(-step for step in reversed(_STEPS)), 0.0, *_STEPS)


class Scores:
    """Histogram of probabilities and values; of class probabilities each row's highest, by class.

    Used from the event loop's thread only.

    Args:
        on_other_version: called when another version answers than before, before that is counted.
    """

    def __init__(self, on_other_version: Callable[[Tenure], None] = lambda _: None) -> None:
        self._on_other_version = on_other_version
        self._tenure: Tenure | None = None
        self._output: Output | None = None
        self._classes: tuple[str, ...] = ()
        self._rows = 0
        self._restart(())

    def add(self, snapshot: Snapshot, predictions: Predictions) -> None:
        """Count the finite ones of `predictions`, shape [rows] or [rows, classes]."""
        if snapshot.tenure is not self._tenure:
            self._begin_version(snapshot)
        end = self._rows + len(predictions)
        if end > self._buffer_rows:
            self._count()
            end = len(predictions)
            if end > self._buffer_rows:
                self._count_rows(predictions)
                return
        # copied: an array of onnxruntime's keeps the memory of its whole session
        self._buffer[self._rows : end] = predictions
        self._rows = end

    def family(self) -> HistogramMetricFamily:
        """The histogram for Prometheus."""
        self._count()
        family = HistogramMetricFamily(
            _NAME,
            "Answers of the model, by their value; a row's highest probability, by its class.",
        )
        names = [*map(str, self._bounds), "+Inf"]
        series: list[dict[str, str]] = [{"class": label} for label in self._labels] or [{}]
        for labels, counts, total in zip(series, self._counts, self._sums, strict=True):
            totals = np.cumsum(counts).tolist()
            for name, below in zip(names, totals, strict=True):
                family.add_sample(f"{_NAME}_bucket", {**labels, "le": name}, below)
            # not `add_metric`: it leaves these two out where there are buckets below nought
            family.add_sample(f"{_NAME}_count", labels, totals[-1])
            family.add_sample(f"{_NAME}_sum", labels, float(total))
        return family

    def _begin_version(self, snapshot: Snapshot) -> None:
        """Start over for another kind of output; another version of the same kind goes on."""
        self._on_other_version(snapshot.tenure)
        self._tenure = snapshot.tenure
        output = snapshot.contract.output
        before, self._output = self._output, output
        if before is None or (before.kind, before.classes) != (output.kind, output.classes):
            self._count()
            self._classes = output.classes
            is_value = output.kind is OutputKind.VALUE
            self._restart(_VALUES if is_value else _TWENTIETHS)

    def _restart(self, bounds: Sequence[float]) -> None:
        width = len(self._classes)
        self._labels = self._classes if width <= _MAX_CLASSES else ()
        self._bounds = np.array(bounds)
        self._counts = np.zeros((len(self._labels) or 1, len(bounds) + 1), np.int64)
        self._sums = np.zeros(len(self._counts))
        self._buffer_rows = _BUFFER_NUMBERS // (width or 1)
        self._buffer = np.empty((self._buffer_rows, width) if width else self._buffer_rows)
        self._rows = 0

    def _count(self) -> None:
        if self._rows:
            self._count_rows(self._buffer[: self._rows])
            self._rows = 0

    def _count_rows(self, rows: Predictions) -> None:
        if self._classes:
            rows = rows[np.isfinite(rows).all(axis=1)]
            series = rows.argmax(axis=1) if self._labels else np.zeros(len(rows), np.int64)
            values = rows.max(axis=1).astype(np.float64)
        else:
            values = rows[np.isfinite(rows)].astype(np.float64)
            series = np.zeros(len(values), np.int64)
        places = np.searchsorted(self._bounds, values)  # a bucket holds its own bound
        shape = self._counts.shape
        places += series * shape[1]
        self._counts += np.bincount(places, minlength=self._counts.size).reshape(shape)
        self._sums += np.bincount(series, weights=values, minlength=shape[0])
