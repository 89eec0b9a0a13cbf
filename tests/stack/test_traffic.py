"""Canary, A/B and shadow on the real gateway: the share, the stickiness, and what is told of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from support.models.moody import SCORE
from support.split import COMMAND, arms, ask, steady, traffic
from support.stack_driver import FIGURES, Stack, wait_for


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
        "serving",
        "import urllib.request as u; print(u.urlopen('http://traffic:8405/metrics')"
        ".read().decode())",
    )
    for name in ("predict_seconds", "prediction_scores"):
        for one in ("champion", "challenger"):
            assert f'modelyard_traffic_{name}_count{{arm="{one}"}}' in told


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
