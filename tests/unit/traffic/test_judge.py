"""When the challenger may not go on."""

from __future__ import annotations

import pytest

from modelyard.traffic.counts import INFINITY, ArmCounts, Histogram
from modelyard.traffic.judge import Guardrails, Window, find_fault

LIMITS = Guardrails(
    window_s=30,
    min_failures=5,
    max_failure_share=0.05,
    min_requests=50,
    latency_factor=3.0,
    latency_floor_s=0.1,
)


def all_took(seconds: float, times: int) -> Histogram:
    """`times` values in the bucket that ends at `seconds`."""
    return Histogram({seconds / 1.001: 0.0, seconds: times, INFINITY: times}, seconds * times)


def test_a_good_challenger_goes_on() -> None:
    fine = ArmCounts(requests=1000, failures=40, seconds=all_took(0.09, 1000))
    assert find_fault(ArmCounts(), fine, LIMITS) == ""
    assert find_fault(ArmCounts(), ArmCounts(), LIMITS) == ""


@pytest.mark.parametrize(
    "counts",
    [
        ArmCounts(requests=20, failures=5),
        ArmCounts(requests=20, not_finite=5),
        ArmCounts(requests=20, failures=3, not_finite=2),
        ArmCounts(requests=0, not_finite=5),  # the servers told before the gateway
    ],
)
def test_failures_end_it(counts: ArmCounts) -> None:
    said = find_fault(ArmCounts(requests=100), counts, LIMITS)
    assert f"{counts.failures:.0f} by an error" in said
    assert f"{counts.not_finite:.0f} without a finite number" in said
    assert "the limit is 5.0%" in said


def test_few_failures_are_chance() -> None:
    assert find_fault(ArmCounts(), ArmCounts(requests=4, failures=4), LIMITS) == ""


def test_the_champions_own_failures_are_allowed() -> None:
    challenger = ArmCounts(requests=100, failures=20)
    assert find_fault(ArmCounts(requests=100, failures=16), challenger, LIMITS) == ""
    assert find_fault(ArmCounts(requests=100, failures=14), challenger, LIMITS)


def test_slowness_ends_it() -> None:
    slow = ArmCounts(requests=50, seconds=all_took(0.4, 50))
    said = find_fault(ArmCounts(seconds=all_took(0.1, 500)), slow, LIMITS)
    assert "400 ms" in said
    assert "the limit is 300 ms" in said


def test_slowness_counts_beside_the_champion_and_from_enough_requests_on() -> None:
    slow = ArmCounts(requests=50, seconds=all_took(0.4, 50))
    assert find_fault(ArmCounts(seconds=all_took(0.2, 500)), slow, LIMITS) == ""
    few = ArmCounts(requests=49, seconds=all_took(0.4, 49))
    assert find_fault(ArmCounts(), few, LIMITS) == ""
    quick = ArmCounts(requests=500, seconds=all_took(0.09, 500))
    assert find_fault(ArmCounts(seconds=all_took(0.001, 500)), quick, LIMITS) == ""


def test_old_requests_leave_the_window() -> None:
    window = Window(LIMITS)
    window.slide(0, ArmCounts(), ArmCounts())
    for second in range(1, 101):
        good = ArmCounts(requests=100.0 * second)
        window.slide(second, good, good)
    bad = ArmCounts(requests=10_000 + 10, failures=10)
    _, inside = window.slide(101, ArmCounts(requests=10_000), bad)
    assert inside.requests <= 30 * 100 + 10
    assert inside.failures == 10


def test_a_slow_trickle_is_judged_over_a_longer_time() -> None:
    window = Window(LIMITS)
    for minute in range(20):  # one request a minute, and all fail
        counts = ArmCounts(requests=minute, failures=minute)
        _, inside = window.slide(60.0 * minute, ArmCounts(), counts)
    assert inside.failures == 19
    assert find_fault(ArmCounts(), inside, LIMITS)


def test_the_window_holds_no_more_than_it_needs() -> None:
    window = Window(LIMITS)
    for step in range(5000):
        counts = ArmCounts(requests=float(step))
        window.slide(step / 4, counts, counts)
    assert len(window._past) <= 4 * LIMITS.window_s + 2
