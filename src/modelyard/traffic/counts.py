"""Numbers of one arm: requests, failures, seconds and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

INFINITY = float("inf")


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
        """The q-quantile, interpolated within its bucket; the last finite bound beyond that."""
        wanted, below, at = q * self.count, 0.0, 0.0
        if wanted <= 0:
            return None
        for bound in sorted(self.counts):
            reached = self.counts[bound]
            if reached >= wanted:
                if bound == INFINITY:
                    return at
                return at + (bound - at) * (wanted - below) / (reached - below)
            below, at = reached, bound
        return at

    def __add__(self, other: Histogram) -> Histogram:
        bounds = self.counts.keys() | other.counts.keys()
        sums = {b: self.counts.get(b, 0.0) + other.counts.get(b, 0.0) for b in bounds}
        return Histogram(sums, self.total + other.total)

    def __sub__(self, other: Histogram) -> Histogram:
        bounds = self.counts.keys() | other.counts.keys()
        left = {b: self.counts.get(b, 0.0) - other.counts.get(b, 0.0) for b in bounds}
        return Histogram(left, self.total - other.total)


@dataclass(frozen=True)
class ArmCounts:
    """What one arm did in some span of time.

    Args:
        requests: predictions that it was asked for.
        failures: those without an answer below 500: 5xx, a timeout, a broken connection.
        not_finite: those that it answered with no finite number.
        seconds: time of a prediction in the server, in seconds.
        scores: its predictions, where the server tells their distribution.
    """

    requests: float = 0.0
    failures: float = 0.0
    not_finite: float = 0.0
    seconds: Histogram = field(default_factory=Histogram)
    scores: Histogram = field(default_factory=Histogram)

    @property
    def faults(self) -> float:
        """Predictions of which the client could have had no use."""
        return max(self.failures, 0.0) + max(self.not_finite, 0.0)

    @property
    def fault_share(self) -> float:
        """Faults by requests, 0 to 1."""
        requests = max(self.requests, self.faults)
        return self.faults / requests if requests > 0 else 0.0

    def __add__(self, other: ArmCounts) -> ArmCounts:
        return ArmCounts(
            self.requests + other.requests,
            self.failures + other.failures,
            self.not_finite + other.not_finite,
            self.seconds + other.seconds,
            self.scores + other.scores,
        )

    def __sub__(self, other: ArmCounts) -> ArmCounts:
        return ArmCounts(
            self.requests - other.requests,
            self.failures - other.failures,
            self.not_finite - other.not_finite,
            self.seconds - other.seconds,
            self.scores - other.scores,
        )
