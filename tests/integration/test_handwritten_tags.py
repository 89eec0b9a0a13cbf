"""Tags that somebody wrote by hand, or another tool: no command stumbles over one."""

from __future__ import annotations

import json
from uuid import uuid4

import mlflow
import pytest

from modelyard.registry import RegistryClient
from modelyard.registry.verdict import CHAMPION_TAG, NUMBERS_TAG, VERDICT_TAG, numbers_of
from support.models.model import register_without_files
from support.registry_commands import Run, commands_for

TRUE = {
    "alias": "champion",
    "moved_from": "1",
    "moved_to": "2",
    "at": "2026-01-01T00:00:00+00:00",
    "who": "eve",
    "why": "",
    "action": "promote",
    "forced": False,
}
NO_MOVES = [
    *("", "garbage", "null", "[]", '"move"', "7", "[" * 4_000, "1" * 4_900),
    json.dumps({**TRUE, "who": "\ud800"}),
    *(json.dumps({key: value for key, value in TRUE.items() if key != gone}) for gone in
      ("alias", "moved_from", "moved_to", "at", "who", "why")),
    *(json.dumps({**TRUE, key: value}) for key, value in (
        ("alias", "another"), ("alias", 1), ("moved_from", None), ("moved_from", "one"),
        ("moved_to", ""), ("moved_to", 2), ("moved_to", "2nd"), ("at", "garbage"), ("at", 0),
        ("at", "2026-01-01"), ("at", "2026-01-01T00:00:00"), ("at", "9999-12-31T23:59:59+00:00"),
        ("at", "0001-01-01T00:00:00+14:00"), ("who", None), ("why", ["x"]), ("action", "zap"),
        ("forced", "yes"), ("passed_over", "1"), ("passed_over", [None]),
    )),
]  # fmt: skip
NO_NUMBERS = [
    *("garbage", "null", "[]", '"x"', "7", "[" * 4_000, "1" * 4_900, '{"candidate": NaN}'),
    '{"metric": "\\ud800", "candidate": 0.5}',
    '{"candidate": "high"}',
    '{"metric": ["x"], "candidate": 0.5}',
]
VERSIONS = ("1", "2", "3")


@pytest.fixture
def model(mlflow_url: str) -> str:
    """Three versions, of which 1 and then 2 was champion, and every record that is none."""
    client = mlflow.MlflowClient(mlflow_url)
    name = f"scribbled-{uuid4().hex[:8]}"
    register_without_files(mlflow_url, name, {}, {}, {})
    run = commands_for(mlflow_url, name)
    for number in ("1", "2"):
        assert run("promote", number, "--why", "true").returncode == 0
    for number, text in enumerate(NO_MOVES):
        # MLflow drops empty values; keys before, among and after the true ones
        key = f"modelyard.promotion.champion.{('0', '2', 'x')[number % 3]}{number}"
        client.set_registered_model_tag(name, key, text)
    client.set_registered_model_tag(name, "modelyard.promotion.", "x")
    client.set_registered_model_tag(name, "modelyard.promotion.champion", "x")
    return name


def test_a_record_that_is_none_breaks_no_command(mlflow_url: str, model: str):
    run = commands_for(mlflow_url, model)
    moves = json.loads(run("history", "--json").stdout)
    assert [(move["moved_to"], move["who"]) for move in moves] == [("1", "ann"), ("2", "ann")]
    assert len(run("history").stdout.splitlines()) == 3
    assert "@champion  version 2 since" in run("status").stdout
    assert run("status", "--json").returncode == 0
    assert len(json.loads(run("versions", "--json").stdout)) == 3
    assert run("trace", "2").stdout.count("became champion") == 1
    assert run("promote", "3", "--from", "1").returncode == 8
    assert run("promote", "3").returncode == 0
    done = run("rollback", "--why", "back")
    assert done.stdout.splitlines()[0] == f"{model}@champion is version 2 now, was 3"
    assert len(json.loads(run("history", "--json").stdout)) == 4


def test_a_record_that_is_true_may_hold_more_than_we_know(
    mlflow_url: str, model: str, registry: RegistryClient
):
    later = {**TRUE, "moved_from": "2", "moved_to": "3", "passed_over": ["1"], "mood": "fine"}
    registry.set_model_tag(model, "modelyard.promotion.champion.9", json.dumps(later))
    registry.set_alias(model, "champion", "3")
    moves = json.loads(commands_for(mlflow_url, model)("history", "--json").stdout)
    assert [(move["moved_to"], move["who"]) for move in moves] == [
        ("1", "ann"), ("2", "ann"), ("3", "eve"),
    ]  # fmt: skip


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_numbers_that_are_none_break_no_list(
    mlflow_url: str, model: str, registry: RegistryClient, text: str
):
    for key, value in ((NUMBERS_TAG, text), (VERDICT_TAG, "?"), (CHAMPION_TAG, "nobody")):
        registry.set_version_tag(model, "3", key, value)
    run: Run = commands_for(mlflow_url, model)
    listed = run("versions")
    assert (listed.returncode, len(listed.stdout.splitlines())) == (0, 4)
    newest = json.loads(run("versions", "--json").stdout)[0]
    assert isinstance(newest["gate numbers"], dict)


def test_garbage_in_a_verdict_stands_in_nobodys_way(
    mlflow_url: str, model: str, registry: RegistryClient
):
    for key, value in ((NUMBERS_TAG, "garbage"), (VERDICT_TAG, "?"), (CHAMPION_TAG, "nobody")):
        registry.set_version_tag(model, "3", key, value)
    run = commands_for(mlflow_url, model)
    assert run("trace", "3").returncode == 0
    assert run("promote", "3").returncode == 0
    assert run("rollback", "--why", "x").returncode == 0
    for command in ("history", "status"):
        assert run(command).returncode == 0
    assert run("trace", "3", "--json").returncode == 0


@pytest.mark.parametrize("text", ["garbage", "[]", "[" * 4_000, '{"candidate": NaN}'])
def test_the_reader_of_numbers_answers_none(text: str):
    assert numbers_of({NUMBERS_TAG: text}) == {}
    assert numbers_of({}) == {}
    assert numbers_of({NUMBERS_TAG: '{"candidate": 0.5}'}) == {"candidate": 0.5}
