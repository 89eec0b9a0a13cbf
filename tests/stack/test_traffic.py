"""Canary, A/B and shadow on the real gateway: the share, the stickiness, and the automatic end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from support.models.moody import HANG, NAN, RAISE, SCORE, SLOW, URI, arm, register_moody, row
from support.replicas import KILL, docker
from support.stack_driver import FIGURES, Stack, wait_for
from support.traffic import Traffic

COMMAND = ("python", "-m", "modelyard.cli.traffic")
NONE: Mapping[str, str] = {}


def traffic(stack: Stack, *words: str) -> dict[str, Any]:
    """`modelyard traffic ... --json`, where `make traffic` runs it."""
    said = stack.compose("exec", "-T", "traffic", *COMMAND, *words, "--json").stdout
    report: dict[str, Any] = json.loads(said)
    return report


def ask(
    stack: Stack, times: int, amount: float = 500, headers: Mapping[str, str] = NONE
) -> list[httpx.Response]:
    """So many predictions, eight at once."""
    with ThreadPoolExecutor(8) as pool:
        post = lambda _: stack.api.post("/predict", json=row(amount), headers=headers)  # noqa: E731
        return list(pool.map(post, range(times)))


def arms(found: list[httpx.Response]) -> Counter[str]:
    return Counter(map(arm, found))


def steady(stack: Stack) -> Traffic:
    """A hundred predictions a second, every answer checked."""
    return Traffic(f"http://127.0.0.1:{stack.gateway_port}/predict", 100)


def answers(stack: Stack) -> bool:
    """Whether the challenger itself answers a prediction."""
    code = (
        "import urllib.request, urllib.error\n"
        f"asked = urllib.request.Request('http://challenger:8000/predict', {json.dumps(row())!r}"
        ".encode(), {'content-type': 'application/json'})\n"
        "try: print(urllib.request.urlopen(asked, timeout=20).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    return stack.python("mlflow", code).strip() == "200"


@pytest.fixture(scope="module")
def challenged(trained: Stack) -> Iterator[Stack]:
    """The stack with a challenger beside the champion; gone afterwards."""
    register_moody(trained)
    profile = ("--profile", "challenger")
    trained.settings["CHALLENGER_MODEL_URI"] = URI
    try:
        trained.compose(*profile, "up", "-d", "--wait", "challenger", "traffic")
        ready = lambda: traffic(trained)["challengers"] == 1  # noqa: E731
        wait_for("a ready challenger", ready)
        yield trained
    finally:
        trained.compose(
            *profile, "exec", "-T", "traffic", *COMMAND, "--off", check=False
        )  # the gateway goes on without them
        trained.compose(*profile, "rm", "--stop", "--force", "challenger", "traffic")
        del trained.settings["CHALLENGER_MODEL_URI"]


@pytest.fixture(autouse=True)
def _off(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test ends with the champion alone."""
    yield
    if "challenged" in request.fixturenames:
        traffic(request.getfixturevalue("challenged"), "--off")


def test_a_canary_gets_its_share(challenged: Stack) -> None:
    assert arms(ask(challenged, 30)) == {"champion": 30}
    report = traffic(challenged, "--canary", "30", "--why", "a test")
    assert (report["plan"]["mode"], report["applied"]) == ("canary", True)
    found = arms(ask(challenged, 600))
    assert 120 <= found["challenger"] <= 240, found  # five standard deviations
    wait_for(
        "the counts of both arms",
        lambda: (
            (told := traffic(challenged))["challenger"]["requests"] == found["challenger"]
            and told["champion"]["requests"] == found["champion"]
            and told["challenger"]["p99_ms"] is not None
        ),
    )
    assert traffic(challenged, "--off")["plan"]["mode"] == "off"
    assert arms(ask(challenged, 30)) == {"champion": 30}


def test_changing_the_split_loses_nothing(challenged: Stack) -> None:
    with steady(challenged) as load:
        for change in (("--canary", "50"), ("--ab", "50"), ("--shadow",), ("--canary", "100")):
            traffic(challenged, *change)
        traffic(challenged, "--off")
    report = load.report()
    assert report.failed == 0, report.as_text()
    assert report.requests > 100
    FIGURES.append(f"five changes of the split: 0 of {report.requests} requests failed")


@pytest.mark.parametrize("header", ["X-Account", "X-Forwarded-For"])
def test_a_key_always_meets_the_same_arm(challenged: Stack, header: str) -> None:
    traffic(challenged, "--ab", "50", "--by-header", header)
    met = {
        key: set(arms(ask(challenged, 4, headers={header: f"10.0.0.{key}"}))) for key in range(60)
    }
    assert all(len(found) == 1 for found in met.values()), met
    shares = Counter(found.pop() for found in met.values())
    assert 12 <= shares["challenger"] <= 48, shares


def test_without_a_key_it_is_drawn_by_lot_and_told(challenged: Stack) -> None:
    plan = traffic(challenged, "--ab")["plan"]
    assert (plan["share_percent"], plan["header"]) == (50, "X-User-Id")
    # all of them from one address, as behind Docker's own translation of addresses every client is
    found = arms(ask(challenged, 200))
    assert 60 <= found["challenger"] <= 140, found  # five standard deviations
    arms(ask(challenged, 10, headers={"X-User-Id": "ada"}))
    told = wait_for(
        "the counts of keys",
        lambda: (told := traffic(challenged))["with_key"] + told["without_key"] == 210 and told,
    )
    assert (told["with_key"], told["without_key"]) == (10, 200)
    said = challenged.compose("exec", "-T", "traffic", *COMMAND).stdout
    assert "200 of 210 requests had none" in said


def test_a_named_version_is_not_split(challenged: Stack) -> None:
    traffic(challenged, "--canary", "100")
    assert arms(ask(challenged, 10)) == {"challenger": 10}
    model = challenged.api.get("/model").json()
    path = f"/v2/models/{model['name']}/versions/{model['version']}/infer"
    inputs = [
        {"name": "amount", "shape": [1], "datatype": "FP64", "data": [500.0]},
        {"name": "merchant_category", "shape": [1], "datatype": "BYTES", "data": ["electronics"]},
        {"name": "hour", "shape": [1], "datatype": "INT64", "data": [23]},
    ]
    answer = challenged.api.post(path, json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] != [SCORE]


def test_a_shadow_sees_every_request_and_no_client_sees_it(challenged: Stack) -> None:
    traffic(challenged, "--shadow")
    assert arms(ask(challenged, 200)) == {"champion": 200}

    def counted() -> dict[str, Any] | None:
        told = traffic(challenged)
        copies = told["challenger"]["requests"] + told["copies_dropped"]
        asked = told["champion"]["mean_score"] and told["challenger"]["mean_score"]
        return told if copies == 200 and asked else None

    report = wait_for("the copies", counted)
    assert report["challenger"]["requests"] > 100
    assert report["challenger"]["mean_score"] == SCORE
    assert report["champion"]["mean_score"] != SCORE
    for arm_report in (report["challenger"], report["champion"]):
        assert arm_report["p10_score"] <= arm_report["p50_score"] <= arm_report["p90_score"]
    assert 0.1 <= report["challenger"]["p10_score"] <= report["challenger"]["p90_score"] <= 0.15
    told = challenged.python(
        "mlflow",
        "import urllib.request as u; print(u.urlopen('http://traffic:8405/metrics')"
        ".read().decode())",
    )
    for name in ("predict_seconds", "prediction_scores"):
        for one in ("champion", "challenger"):
            assert f'modelyard_traffic_{name}_count{{arm="{one}"}}' in told


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


def test_a_gateway_that_starts_again_keeps_the_split(challenged: Stack) -> None:
    wait_for("a ready challenger", lambda: traffic(challenged)["challengers"] == 1)
    before = traffic(challenged, "--canary", "100")["plan"]
    challenged.compose("restart", "gateway")
    again = wait_for("the split", lambda: (told := traffic(challenged))["applied"] and told)
    assert again["plan"] == before
    wait_for(
        "the challenger",
        lambda: challenged.predict().headers.get("x-model-arm") == "challenger",
    )


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
        said = challenged.python("mlflow", f"{code}.read().decode())")
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


def test_the_status_says_how_predictions_are_split(challenged: Stack) -> None:
    traffic(challenged, "--canary", "25")
    status = ("--rm", "--no-deps", "--entrypoint", "modelyard", "training", "status")
    said = challenged.compose("--profile", "train", "run", *status).stdout
    assert "canary: 25 % go to the challenger" in said


def test_nonsense_is_refused_with_a_sentence(challenged: Stack) -> None:
    for words in (("--canary", "101"), ("--canary", "5", "--shadow"), ("--by-header", "X-Y")):
        done = challenged.compose("exec", "-T", "traffic", *COMMAND, *words, check=False)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "fix: " in done.stderr
        assert "Traceback" not in done.stderr
