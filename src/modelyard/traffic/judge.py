"""Decides whether the challenger has failed: the counts of both arms against guardrails."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from modelyard.traffic.counts import ArmCounts

_QUANTILE = 0.95


@dataclass(frozen=True)
class Guardrails:
    """What the challenger may do before its split ends.

    Args:
        window_s: seconds that are judged; more while they hold too few requests.
        min_failures: fewer faults than this are chance.
        max_failure_share: how much larger its share of faults may be than the champion's, 0 to 1.
        min_requests: with fewer requests than this its latency is not judged.
        latency_factor: how many times slower than the champion it may be, at the 95th percentile.
        latency_floor_s: up to this many seconds it is fast enough, however fast the champion is.
    """

    window_s: float = 30.0
    min_failures: int = 5
    max_failure_share: float = 0.05
    min_requests: int = 50
    latency_factor: float = 3.0
    latency_floor_s: float = 0.1


def find_fault(champion: ArmCounts, challenger: ArmCounts, guardrails: Guardrails) -> str:
    """Why the challenger has failed, in one sentence; empty when it has not."""
    allowed = guardrails.max_failure_share + champion.fault_share
    if challenger.faults >= guardrails.min_failures and challenger.fault_share > allowed:
        requests = max(challenger.requests, challenger.faults)
        return (
            f"{challenger.faults:.0f} of the challenger's last {requests:.0f} predictions failed "
            f"({max(challenger.failures, 0):.0f} by an error, a timeout or a broken connection, "
            f"{max(challenger.not_finite, 0):.0f} without a finite number): "
            f"{challenger.fault_share:.1%}, the limit is {allowed:.1%}."
        )
    took_s = challenger.seconds.quantile(_QUANTILE)
    if took_s is None or challenger.seconds.count < guardrails.min_requests:
        return ""
    champion_s = champion.seconds.quantile(_QUANTILE) or 0.0
    allowed_s = max(guardrails.latency_floor_s, guardrails.latency_factor * champion_s)
    if took_s <= allowed_s:
        return ""
    return (
        f"The challenger's predictions took up to {took_s * 1000:.0f} ms (95th percentile of "
        f"{challenger.seconds.count:.0f}), the limit is {allowed_s * 1000:.0f} ms; the champion's "
        f"took up to {champion_s * 1000:.0f} ms."
    )


class Window:
    """The counts of the last `window_s`; of a longer time while those hold too few requests."""

    def __init__(self, guardrails: Guardrails) -> None:
        self._guardrails = guardrails
        self._past: deque[tuple[float, ArmCounts, ArmCounts]] = deque()

    def slide(
        self, now_s: float, champion: ArmCounts, challenger: ArmCounts
    ) -> tuple[ArmCounts, ArmCounts]:
        """Both arms' counts within the window, given their counts up to `now_s` (seconds)."""
        if not self._past or challenger.requests > self._past[-1][2].requests:
            self._past.append((now_s, champion, challenger))
        while len(self._past) > 1:
            then_s, _, then = self._past[1]
            enough = challenger.requests - then.requests >= self._guardrails.min_requests
            if now_s - then_s < self._guardrails.window_s or not enough:
                break
            self._past.popleft()
        _, first_champion, first_challenger = self._past[0]
        return champion - first_champion, challenger - first_challenger
