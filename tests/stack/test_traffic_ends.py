"""The automatic end of a split: a challenger that fails, is gone, or that nobody watches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from support.models.moody import HANG, NAN, RAISE, SLOW
from support.replicas import KILL, docker
from support.split import answers, arms, ask, steady, traffic
from support.stack_driver import FIGURES, Stack, wait_for


def test_a_hanging_shadow_is_dropped_ended_and_not_felt(challenged: Stack) -> None:
    traffic(challenged, "--shadow")
    # more at once than GATEWAY_SHADOW_CONCURRENCY, and none is answered
    assert {answer.status_code for answer in ask(challenged, 100, HANG)} == {200}
    report = wait_for("the end", lambda: (told := traffic(challenged))["plan"]["aborted"] and told)
    assert report["plan"]["mode"] == "off"
    assert report["copies_dropped"] > 0
    assert 0 < report["challenger"]["failures"] <= 32


@pytest.mark.parametrize(
    ("amount", "statuses", "reason"),
    [
        pytest.param(RAISE, {200}, "by an error", id="raises"),
        pytest.param(HANG, {200}, "by an error", id="hangs"),
        pytest.param(NAN, {200, 422}, "without a finite number", id="answers NaN"),
        pytest.param(SLOW, {200}, "95th percentile", id="slow"),
    ],
)
def test_a_failing_canary_ends_by_itself_and_stays_off(
    challenged: Stack, amount: float, statuses: set[int], reason: str
) -> None:
    wait_for("a challenger that answers", lambda: answers(challenged))
    assert not traffic(challenged, "--canary", "50")["plan"]["aborted"]
    started = datetime.now(UTC)
    seen: set[int] = set()

    def aborted() -> dict[str, Any] | None:
        seen.update(answer.status_code for answer in ask(challenged, 24, amount))
        told = traffic(challenged)
        return told if told["plan"]["aborted"] else None

    report = wait_for("the end of the canary", aborted)
    took = datetime.fromisoformat(report["plan"]["changed_at"]) - started
    FIGURES.append(f"canary that fails at {amount}: ended after {took.total_seconds():.1f} s")
    # what it failed at was asked of the champion; only an answer that is one cannot be taken back
    assert seen <= statuses
    assert report["plan"]["mode"] == "off"
    assert reason in report["plan"]["aborted"]
    assert arms(ask(challenged, 60)) == {"champion": 60}
    assert "Aborted: canary: 50 %" in challenged.compose("logs", "traffic").stdout
    assert traffic(challenged)["plan"] == report["plan"], "it stays off, and says why"


def test_it_can_be_turned_on_again_after_an_end(challenged: Stack) -> None:
    wait_for("a challenger that answers", lambda: answers(challenged))
    assert not traffic(challenged, "--canary", "100")["plan"]["aborted"]
    assert arms(ask(challenged, 40)) == {"challenger": 40}
    assert not traffic(challenged)["plan"]["aborted"], "old failures do not count"


def test_an_end_that_cannot_be_saved_holds_over_a_restart(challenged: Stack) -> None:
    wait_for("a challenger that answers", lambda: answers(challenged))
    traffic(challenged, "--canary", "50")
    lock = "from pathlib import Path; lock = Path('/var/lib/modelyard/plan.lock'); "
    challenged.python("traffic", f"{lock}lock.unlink(); lock.mkdir()")  # nothing can be written
    try:

        def aborted() -> dict[str, Any] | None:
            ask(challenged, 24, RAISE)
            told = traffic(challenged)
            return told if told["plan"]["aborted"] else None

        assert "cannot be saved" in wait_for("the end of the canary", aborted)["trouble"]
        assert arms(ask(challenged, 60)) == {"champion": 60}
        challenged.compose("restart", "traffic")
        wait_for("its health", lambda: challenged.healthy("traffic"))
        told = wait_for("its look", lambda: (told := traffic(challenged))["applied"] and told)
        assert told["plan"]["aborted"]
        assert arms(ask(challenged, 60)) == {"champion": 60}
    finally:
        challenged.python("traffic", f"{lock}lock.rmdir()")
    wait_for("its saving", lambda: not traffic(challenged)["trouble"])
    assert traffic(challenged)["plan"]["aborted"]


def test_without_a_challenger_the_champion_answers(challenged: Stack) -> None:
    traffic(challenged, "--canary", "100")
    with steady(challenged) as load:
        challenged.compose("kill", "--signal", "SIGKILL", "challenger")
        assert arms(ask(challenged, 60))["champion"] > 0
        wait_for("its absence", lambda: traffic(challenged)["challengers"] == 0)
        assert arms(ask(challenged, 30)) == {"champion": 30}
        challenged.compose("start", "challenger")
        wait_for("its return", lambda: traffic(challenged)["challengers"] == 1)
    assert load.report().failed == 0, load.report().as_text()


def test_nobody_gets_the_challenger_while_nobody_watches_it(challenged: Stack) -> None:
    wait_for("a challenger that answers", lambda: answers(challenged))
    traffic(challenged, "--canary", "100")
    assert arms(ask(challenged, 10)) == {"challenger": 10}
    challenged.compose("stop", "traffic")
    assert arms(ask(challenged, 10)) == {"champion": 10}
    challenged.compose("start", "traffic")
    wait_for("the split", lambda: arms(ask(challenged, 10)) == {"challenger": 10})


def watcher(stack: Stack) -> dict[str, Any]:
    """`docker inspect` of the service `traffic`."""
    (container,) = stack.containers("traffic")
    return container


@pytest.mark.parametrize("change", [("--canary", "100"), ("--ab", "100")], ids=" ".join)
def test_a_watcher_that_is_paused_takes_the_challenger_with_it(
    challenged: Stack, change: tuple[str, ...]
) -> None:
    wait_for("a challenger that answers", lambda: answers(challenged))
    traffic(challenged, *change)
    with steady(challenged) as load:
        with challenged.stopped("traffic", how="pause"):
            wait_for("the champion alone", lambda: arms(ask(challenged, 10)) == {"champion": 10})
            assert arms(ask(challenged, 60)) == {"champion": 60}
        wait_for("the split", lambda: arms(ask(challenged, 10)) == {"challenger": 10})
    assert load.report().failed == 0, load.report().as_text()
    assert "was not renewed and had ended" in challenged.compose("logs", "traffic").stdout


def test_a_shadow_ends_with_its_watcher_too(challenged: Stack) -> None:
    def copies() -> int:
        code = "import urllib.request as u; print(u.urlopen('http://gateway:8404/metrics/arms')"
        said = challenged.python("serving", f"{code}.read().decode())")
        line = next(line for line in said.splitlines() if '{result="sent"}' in line)
        return int(line.split()[-1])

    def is_still() -> bool:
        before = copies()
        ask(challenged, 5)
        return copies() == before

    traffic(challenged, "--shadow")
    before = copies()
    ask(challenged, 5)
    wait_for("copies", lambda: copies() > before)
    with challenged.stopped("traffic", how="pause"):
        wait_for("no more copies", is_still)


def test_a_watcher_that_is_killed_takes_the_challenger_with_it(challenged: Stack) -> None:
    wait_for("a challenger that answers", lambda: answers(challenged))
    before = traffic(challenged, "--canary", "100")["plan"]
    with steady(challenged) as load:
        # by hand: the engine takes that for an order, and leaves it dead
        docker("kill", "--signal", "KILL", watcher(challenged)["Name"])
        wait_for("the champion alone", lambda: arms(ask(challenged, 10)) == {"champion": 10})
        assert arms(ask(challenged, 60)) == {"champion": 60}
        assert not watcher(challenged)["State"]["Running"]
        challenged.compose("start", "traffic")
        wait_for("the split", lambda: arms(ask(challenged, 10)) == {"challenger": 10})
        # by itself: the engine starts it again, and it goes on with the plan
        container = watcher(challenged)
        docker("exec", container["Name"], "sh", "-c", KILL)
        wait_for(
            "a restart", lambda: watcher(challenged)["RestartCount"] > container["RestartCount"]
        )
        wait_for("its health", lambda: challenged.healthy("traffic"))
        wait_for("the split", lambda: arms(ask(challenged, 10)) == {"challenger": 10})
    assert load.report().failed == 0, load.report().as_text()
    report = traffic(challenged)
    assert (report["plan"], report["applied"]) == (before, True)
