"""The state of the traffic, for users and for `modelyard status`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelyard.traffic.counts import ArmCounts
from modelyard.traffic.plan import Mode, Plan

_TIMEOUT_S = 2.0


class ArmReport(BaseModel):
    """One arm since the split was set; times in milliseconds, as the servers measured them.

    A score is the model's answer, or the probability of a row's most likely class; its quantiles
    are as exact as the servers' buckets. `classes` are rows by their most likely class.
    """

    model_config = ConfigDict(frozen=True)

    requests: int = 0
    failures: int = 0
    not_finite: int = 0
    p50_ms: float | None = None
    p99_ms: float | None = None
    mean_score: float | None = None
    p10_score: float | None = None
    p50_score: float | None = None
    p90_score: float | None = None
    classes: Mapping[str, int] = Field(default_factory=dict)

    @classmethod
    def of(cls, counts: ArmCounts) -> ArmReport:
        """`counts`, rounded."""
        return cls(
            requests=round(max(counts.requests, 0)),
            failures=round(max(counts.failures, 0)),
            not_finite=round(max(counts.not_finite, 0)),
            p50_ms=_ms(counts.seconds.quantile(0.5)),
            p99_ms=_ms(counts.seconds.quantile(0.99)),
            mean_score=counts.scores.mean,
            p10_score=counts.scores.quantile(0.1),
            p50_score=counts.scores.quantile(0.5),
            p90_score=counts.scores.quantile(0.9),
            classes={name: round(max(rows, 0)) for name, rows in counts.classes.items()},
        )


class Report(BaseModel):
    """The state of the traffic.

    Args:
        plan: the chosen split.
        applied: whether the gateway follows it.
        trouble: why it does not, or why the arms cannot be watched; empty while all is well.
        challengers: number of challengers that are ready.
        counting_since: when the counts below began.
        copies_dropped: shadow requests that were not sent because too many were in flight.
        with_key: requests under A/B that carried the key.
        without_key: requests under A/B without the key, assigned at random.
    """

    model_config = ConfigDict(frozen=True)

    plan: Plan
    applied: bool
    trouble: str
    challengers: int
    counting_since: datetime
    champion: ArmReport = ArmReport()
    challenger: ArmReport = ArmReport()
    copies_dropped: int = 0
    with_key: int = 0
    without_key: int = 0

    def sentence(self) -> str:
        """One line: the split, and what is wrong."""
        text = self.plan.describe()
        if self.plan.aborted:
            text = f"{text}; {self.plan.why} was aborted: {self.plan.aborted}"
        if self.trouble:
            text = f"{text} ({self.trouble})"
        elif self.plan.mode is not Mode.OFF and self.challengers == 0:
            text = f"{text} (no challenger is ready: the champion answers everything)"
        return text


def ask_traffic(url: str) -> Report | None:
    """The report of the service `traffic` at `url`; None where it does not run."""
    try:
        answer = httpx.get(f"{url}/report", timeout=_TIMEOUT_S)
        return Report.model_validate_json(answer.raise_for_status().content)
    except (httpx.HTTPError, ValidationError):
        return None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
