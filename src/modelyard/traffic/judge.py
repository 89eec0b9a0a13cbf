"""When has the challenger failed? Counts of both arms against limits; nothing is asked or done."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from modelyard.traffic.counts import ArmCounts

_QUANTILE = 0.95


@dataclass(frozen=True)
class Limits:
    """What the challenger may do.

    Args:
        window_s: seconds that are judged; further back while they hold too few requests.
        min_failures: fewer faults are chance.
        max_failure_share: share of its requests, 0 to 1, by which it may fail more often than the
            champion.
        min_requests: its latency counts from so many requests on.
        latency_factor: how many times slower than the champion it may be, at the 95th percentile.
        latency_floor_s: below this, in seconds, it is fast enough, whatever the champion takes.
    """

    window_s: float = 30.0
    min_failures: int = 5
    max_failure_share: float = 0.05
    min_requests: int = 50
    latency_factor: float = 3.0
    latency_floor_s: float = 0.1


def find_fault(champion: ArmCounts, challenger: ArmCounts, limits: Limits) -> str:
    """Why the challenger may not go on, in one sentence; empty when it may."""
    return _failing(champion, challenger, limits) or _slow(champion, challenger, limits)


def _failing(champion: ArmCounts, challenger: ArmCounts, limits: Limits) -> str:
    allowed = limits.max_failure_share + champion.fault_share
    if challenger.faults < limits.min_failures or challenger.fault_share <= allowed:
        return ""
    requests = max(challenger.requests, challenger.faults)
    return (
        f"{challenger.faults:.0f} of the challenger's last {requests:.0f} predictions failed "
        f"({max(challenger.failures, 0):.0f} by an error, a timeout or a broken connection, "
        f"{max(challenger.not_finite, 0):.0f} without a finite number): "
        f"{challenger.fault_share:.1%}, the limit is {allowed:.1%}."
    )


def _slow(champion: ArmCounts, challenger: ArmCounts, limits: Limits) -> str:
    took = challenger.seconds.quantile(_QUANTILE)
    if took is None or challenger.seconds.count < limits.min_requests:
        return ""
    usual = champion.seconds.quantile(_QUANTILE) or 0.0
    allowed = max(limits.latency_floor_s, limits.latency_factor * usual)
    if took <= allowed:
        return ""
    return (
        f"The challenger's predictions took up to {took * 1000:.0f} ms (95th percentile of "
        f"{challenger.seconds.count:.0f}), the limit is {allowed * 1000:.0f} ms; the champion's "
        f"took up to {usual * 1000:.0f} ms."
    )


class Window:
    """The counts of the last seconds; of a longer time while those hold too few requests."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._past: deque[tuple[float, ArmCounts, ArmCounts]] = deque()

    def slide(
        self, now_s: float, champion: ArmCounts, challenger: ArmCounts
    ) -> tuple[ArmCounts, ArmCounts]:
        """Both arms' counts within the window, given their counts up to `now_s` (seconds)."""
        if not self._past or challenger.requests > self._past[-1][2].requests:
            self._past.append((now_s, champion, challenger))
        while len(self._past) > 1:
            then_s, _, then = self._past[1]
            enough = challenger.requests - then.requests >= self._limits.min_requests
            if now_s - then_s < self._limits.window_s or not enough:
                break
            self._past.popleft()
        _, first_champion, first_challenger = self._past[0]
        return champion - first_champion, challenger - first_challenger
