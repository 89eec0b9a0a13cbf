"""The distribution of what the served model answers, for `/metrics`.

A request leaves its predictions on a pile, which costs it a third of a microsecond; the pile is
counted when it is full, or when somebody asks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from prometheus_client.core import HistogramMetricFamily

from modelyard.contract import OutputKind
from modelyard.serving.model.runner import Predictions
from modelyard.serving.model.snapshot import Snapshot

_PILE_ROWS = 4096
_TWENTIETHS = tuple(round(0.05 * step, 2) for step in range(1, 21))
_BOUNDS: dict[OutputKind, Sequence[float]] = {
    OutputKind.PROBABILITY: _TWENTIETHS,
    OutputKind.VALUE: (),  # what is much or little only the user knows: sum and count
}


class Scores:
    """Histogram of probabilities, sum and count of values; class probabilities are not counted.

    Used from the event loop's thread only.
    """

    def __init__(self) -> None:
        self._kind: OutputKind | None = None
        self._pile = np.empty(_PILE_ROWS)
        self._rows = 0
        self._start(None)

    def add(self, snapshot: Snapshot, predictions: Predictions) -> None:
        """Take the finite ones of `predictions`, shape [rows]."""
        kind = snapshot.contract.output.kind
        if kind is not self._kind:
            self._start(kind)
        if kind not in _BOUNDS:
            return
        rows = len(predictions)
        if self._rows + rows > _PILE_ROWS:
            self._count()
        if rows > _PILE_ROWS:
            self._count_values(predictions)
        else:  # copied: an array of onnxruntime's keeps the memory of its whole session
            self._pile[self._rows : self._rows + rows] = predictions
            self._rows += rows

    def family(self) -> HistogramMetricFamily:
        """What Prometheus sees."""
        self._count()
        family = HistogramMetricFamily(
            "modelyard_prediction_scores", "Answers of the model, by their value."
        )
        totals = np.cumsum(self._counts).tolist()
        names = [*map(str, self._bounds), "+Inf"]
        family.add_metric((), list(zip(names, totals, strict=True)), self._sum)
        return family

    def _start(self, kind: OutputKind | None) -> None:
        self._count()
        self._kind = kind
        self._bounds = np.array(_BOUNDS.get(kind, ()) if kind else ())
        self._counts = np.zeros(len(self._bounds) + 1, np.int64)
        self._sum = 0.0

    def _count(self) -> None:
        if self._rows:
            self._count_values(self._pile[: self._rows])
            self._rows = 0

    def _count_values(self, values: Predictions) -> None:
        values = values[np.isfinite(values)].astype(np.float64)
        places = np.searchsorted(self._bounds, values)  # a bucket holds its own bound
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum += float(values.sum())
