"""Numbers of one arm: requests, failures, seconds and scores."""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

INFINITY = float("inf")

_Operate = Callable[[float, float], float]
"""Addition or subtraction."""


@dataclass(frozen=True)
class Histogram:
    """A Prometheus histogram: how many values were at most each bound, and their sum."""

    counts: Mapping[float, float] = field(default_factory=dict)
    total: float = 0.0

    @property
    def count(self) -> float:
        """Number of values."""
        return self.counts.get(INFINITY, 0.0)

    @property
    def mean(self) -> float | None:
        """Mean of the values; None where there is none."""
        return self.total / self.count if self.count > 0 else None

    def quantile(self, q: float) -> float | None:
        """The q-quantile, interpolated within its bucket; an outer bound where it lies beyond one.

        None where there are no values, or no bounds.
        """
        wanted, below = q * self.count, 0.0
        if wanted <= 0:
            return None
        at: float | None = None
        for bound in sorted(self.counts):
            reached = self.counts[bound]
            if reached >= wanted:
                if bound == INFINITY:
                    return at
                if at is None:  # the lowest bucket begins at zero, or its bound is all we know
                    at = min(0.0, bound)
                return at + (bound - at) * (wanted - below) / (reached - below)
            below, at = reached, bound
        return at

    def __add__(self, other: Histogram) -> Histogram:
        if not self.count:  # its bounds may be those of another model
            return other
        return self._combined(other, operator.add)

    def __sub__(self, other: Histogram) -> Histogram:
        if not other.count:
            return self
        return self._combined(other, operator.sub)

    def _combined(self, other: Histogram, operate: _Operate) -> Histogram:
        if self.counts.keys() == other.counts.keys():
            counts = {bound: operate(n, other.counts[bound]) for bound, n in self.counts.items()}
        else:
            bounds = sorted(self.counts.keys() | other.counts.keys())
            numbers = map(operate, self._at(bounds), other._at(bounds))
            counts = dict(zip(bounds, numbers, strict=True))
        return Histogram(counts, operate(self.total, other.total))

    def _at(self, bounds: list[float]) -> list[float]:
        """How many values are known to be at most each of `bounds`, which may be another's."""
        own = sorted(self.counts)
        places = (bisect_right(own, bound) for bound in bounds)
        return [self.counts[own[place - 1]] if place else 0.0 for place in places]


@dataclass(frozen=True)
class ArmCounts:
    """What one arm, or one of its servers, did in a span of time.

    Args:
        requests: predictions that the arm was asked for, or that the server answered.
        failures: requests without an answer below 500: 5xx, a timeout, a broken connection.
        not_finite: requests whose answer was not a finite number.
        seconds: time of a prediction in the server, in seconds.
        scores: its predictions, where the server reports their distribution; of class
            probabilities each row's highest.
        classes: number of rows by their most likely class.
    """

    requests: float = 0.0
    failures: float = 0.0
    not_finite: float = 0.0
    seconds: Histogram = field(default_factory=Histogram)
    scores: Histogram = field(default_factory=Histogram)
    classes: Mapping[str, float] = field(default_factory=dict)

    @property
    def faults(self) -> float:
        """Predictions that were of no use to the client."""
        return max(self.failures, 0.0) + max(self.not_finite, 0.0)

    @property
    def fault_share(self) -> float:
        """Share of the requests that were faults, 0 to 1."""
        requests = max(self.requests, self.faults)
        return self.faults / requests if requests > 0 else 0.0

    def __add__(self, other: ArmCounts) -> ArmCounts:
        return self._combined(
            other, self.seconds + other.seconds, self.scores + other.scores, operator.add
        )

    def __sub__(self, other: ArmCounts) -> ArmCounts:
        return self._combined(
            other, self.seconds - other.seconds, self.scores - other.scores, operator.sub
        )

    def _combined(
        self, other: ArmCounts, seconds: Histogram, scores: Histogram, operate: _Operate
    ) -> ArmCounts:
        labels = dict.fromkeys((*self.classes, *other.classes))
        return ArmCounts(
            operate(self.requests, other.requests),
            operate(self.failures, other.failures),
            operate(self.not_finite, other.not_finite),
            seconds,
            scores,
            {
                label: operate(self.classes.get(label, 0.0), other.classes.get(label, 0.0))
                for label in labels
            },
        )
