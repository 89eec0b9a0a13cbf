"""The wanted split: what is one, how the gateway is told, and how it lasts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from modelyard.errors import TrafficError
from modelyard.traffic.plan import Mode, Plan, PlanStore

CANARY = Plan(mode=Mode.CANARY, share_percent=10, changed_by="ada", why="new features")


@pytest.mark.parametrize(
    ("plan", "entry"),
    [
        (Plan(), "off::"),
        (CANARY, "canary:1000:"),
        (Plan(mode=Mode.CANARY, share_percent=0.29), "canary:29:"),
        (Plan(mode=Mode.AB, share_percent=100, header="X-Key"), "ab:10000:X-Key"),
        (Plan(mode=Mode.SHADOW), "shadow::"),
    ],
)
def test_the_gateway_is_told_in_one_word(plan: Plan, entry: str) -> None:
    assert plan.entry == entry
    assert not set(" ;\n") & set(entry), "it would be another command"


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "canary"},
        {"mode": "canary", "share_percent": 0},
        {"mode": "canary", "share_percent": 100.1},
        {"mode": "canary", "share_percent": float("nan")},
        {"mode": "canary", "share_percent": 5, "header": "X-Key"},
        {"mode": "ab", "share_percent": 5},
        {"mode": "ab", "share_percent": 5, "header": "X Key; shutdown"},
        {"mode": "shadow", "share_percent": 5},
        {"mode": "off", "header": "X-Key"},
        {"mode": "off", "ended": "x; shutdown"},
        {"mode": "half"},
    ],
)
def test_nonsense_is_no_plan(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Plan.model_validate(fields)


def test_an_end_by_itself_says_what_it_ended_and_why() -> None:
    ended = CANARY.abort("it failed")
    assert ended.mode is Mode.OFF
    assert ended.aborted == "it failed"
    assert "10 %" in ended.why
    assert ended.id != CANARY.id
    assert ended.entry == f"off::{CANARY.id}", "the gateway knows it too"


def test_without_a_decision_the_champion_answers(tmp_path: Path) -> None:
    store = PlanStore(tmp_path)
    assert store.read().mode is Mode.OFF
    assert store.read() == store.read(), "or it would be taken for a new decision"


def test_a_plan_lasts(tmp_path: Path) -> None:
    PlanStore(tmp_path).write(CANARY)
    assert PlanStore(tmp_path).read() == CANARY
    assert json.loads((tmp_path / "plan.json").read_text())["why"] == "new features"
    assert {file.name for file in tmp_path.iterdir()} == {"plan.json", "plan.lock"}


def test_a_later_decision_is_not_overwritten(tmp_path: Path) -> None:
    store = PlanStore(tmp_path)
    later = Plan(mode=Mode.SHADOW)
    store.write(CANARY)
    assert store.exchange(CANARY, later)
    assert not store.exchange(CANARY, CANARY.abort("late"))
    assert store.read() == later


def test_a_broken_file_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"mode": "cana')
    store = PlanStore(tmp_path)
    with pytest.raises(TrafficError, match="cannot be read") as caught:
        store.read()
    assert "--off" in caught.value.fix
    store.write(CANARY)
    assert store.read() == CANARY


_WRITE_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from modelyard.errors import TrafficError
from modelyard.traffic.plan import Plan, PlanStore

resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    PlanStore(Path(sys.argv[1])).write(Plan())
except TrafficError as error:
    print(error.sentence())
"""


def test_a_full_disk_is_said_and_the_plan_stays_whole(tmp_path: Path) -> None:
    store = PlanStore(tmp_path)
    store.write(CANARY)
    command = [sys.executable, "-c", _WRITE_ON_A_FULL_DISK, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot be written" in said
    assert "docker compose stop traffic" in said
    assert store.read() == CANARY
    assert {file.name for file in tmp_path.iterdir()} == {"plan.json", "plan.lock"}


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrafficError, match="cannot be written"):
        PlanStore(tmp_path / "nowhere").write(CANARY)
