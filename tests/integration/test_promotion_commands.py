"""Promotions and rollbacks that somebody should think about: what they say, refuse and record."""

from __future__ import annotations

import json
import shlex
from uuid import uuid4

import mlflow
import pytest

from modelyard.registry import RegistryClient
from modelyard.registry.verdict import CHAMPION_TAG, NO_CHAMPION, SENTENCE_TAG, VERDICT_TAG
from support.models.model import register_without_files
from support.registry_commands import Run, commands_for, make_for

JUDGED = {VERDICT_TAG: "passed", SENTENCE_TAG: "passed: fine"}
REFUSED = {VERDICT_TAG: "refused", SENTENCE_TAG: "refused: a worse score"}


def new_model(mlflow_url: str, *tags: dict[str, str]) -> str:
    """A registered model with a version without files for each of the `tags`."""
    return register_without_files(mlflow_url, f"moved-{uuid4().hex[:8]}", *tags)


@pytest.fixture
def model(mlflow_url: str) -> str:
    """Version 2 was refused; each was judged against the version before it."""
    return new_model(
        mlflow_url,
        {**JUDGED, CHAMPION_TAG: NO_CHAMPION},
        {**REFUSED, CHAMPION_TAG: "1"},
        {**JUDGED, CHAMPION_TAG: "2"},
    )


@pytest.fixture
def run(mlflow_url: str, model: str) -> Run:
    return commands_for(mlflow_url, model)


def champion_after(run: Run, *versions: str) -> None:
    for version in versions:
        assert run("promote", version, "--force", "--why", "test").returncode == 0


def test_a_rollback_to_a_refused_version_says_so_and_is_on_record(run: Run, model: str):
    champion_after(run, "1", "2", "3")
    done = run("rollback", "--why", "complaints")
    assert done.returncode == 0
    said = f"{model}@champion is version 2 now, was 3; the gate had refused it"
    assert done.stdout.splitlines()[0] == said
    assert json.loads(run("history", "--json").stdout)[-1]["forced"] is True
    assert "rollback, to a refused version" in run("history").stdout
    done = run("rollback", "--why", "complaints")
    assert "refused" not in done.stdout


def test_a_rollback_names_the_versions_that_it_passes_over(run: Run, model: str, mlflow_url: str):
    champion_after(run, "1", "2", "3")
    mlflow.MlflowClient(mlflow_url).delete_model_version(model, "2")
    done = run("rollback", "--why", "complaints")
    assert "note: version 2 was passed over: it is gone, or not ready\n" in done.stdout
    assert json.loads(run("history", "--json").stdout)[-1]["passed_over"] == ["2"]
    assert "rollback, past 2" in run("history").stdout


def test_the_command_that_a_rollback_prints_goes_back_once_however_often_it_is_run(
    run: Run, model: str, registry: RegistryClient
):
    champion_after(run, "1", "2", "3")
    why = 'Ann\'s "$complaints"'
    printed = run("rollback", "--why", why).stdout
    (command,) = [line for line in printed.splitlines() if line.startswith("safe to repeat: ")]
    words = shlex.split(command.removeprefix("safe to repeat: "))
    assert words == ["modelyard", "rollback", "--from", "3", "--why", why]
    for _ in range(2):
        assert run(*words[1:]).returncode == 8
    assert registry.aliases(model) == {"champion": "2"}
    said = json.loads(run("rollback", "--why", why, "--model", model, "--json").stdout)
    assert shlex.split(said["safe to repeat"])[3:6] == ["2", "--model", model]


@pytest.mark.parametrize("why", [(), ("--why", ""), ("--why", "  ")])
@pytest.mark.parametrize("words", [("rollback",), ("promote", "3", "--force")])
def test_what_goes_against_the_gate_or_back_needs_a_reason(
    run: Run, model: str, registry: RegistryClient, words: tuple[str, ...], why: tuple[str, ...]
):
    champion_after(run, "1", "2")
    done = run(*words, *why)
    assert done.returncode == 2
    assert "needs a reason" in done.stderr
    assert f"fix: modelyard {words[0]}" in done.stderr
    assert registry.aliases(model) == {"champion": "2"}
    assert run("promote", "1").returncode == 0  # which needs none


def test_json_tells_the_move(run: Run, model: str):
    moved = json.loads(run("promote", "1", "--why", "first", "--json").stdout)
    assert (moved["model"], moved["alias"], moved["version"]) == (model, "champion", "1")
    assert (moved["moved"], moved["move"]["moved_to"], moved["move"]["why"]) == (True, "1", "first")
    assert any("no registered manifest" in note for note in moved["notes"])
    again = json.loads(run("promote", "1", "--json").stdout)
    assert (again["version"], again["moved"], again["move"]) == ("1", False, None)
    champion_after(run, "3")
    back = json.loads(run("rollback", "--why", "complaints", "--json").stdout)
    assert (back["version"], back["move"]["action"]) == ("1", "rollback")
    assert shlex.split(back["safe to repeat"])[:4] == ["modelyard", "rollback", "--from", "3"]


def test_a_version_that_was_judged_against_another_champion_gets_a_note(run: Run):
    assert "judged against" not in run("promote", "1").stdout  # nobody was champion
    done = run("promote", "3")
    said = "note: version 3 was judged against version 2, and never against version 1, which was"
    assert said in done.stdout
    assert "judged against" not in run("promote", "3").stdout  # it is already
    assert "version 1 was judged without a champion, and never" in run("promote", "1").stdout
    done = run("promote", "2", "--force", "--why", "x")
    assert "was judged" not in done.stdout  # against 1, which served
    done = run("promote", "1", "--alias", "challenger")
    assert "and never against version 2, which is the champion" in done.stdout
    done = run("promote", "3", "--alias", "challenger")
    assert "was judged" not in done.stdout  # against 2, the champion


@pytest.mark.parametrize("alias", ["bad alias!", "latest", "LATEST", "v1", "V12", "", "a.b"])
def test_what_no_alias_may_be_is_a_mistake_in_the_arguments(run: Run, alias: str):
    for words in (("promote", "1"), ("rollback", "--why", "x"), ("history",)):
        done = run(*words, "--alias", alias)
        assert done.returncode == 2
        assert "Configuration is not valid" in done.stderr
        assert f'"{alias}" cannot be an alias: expected letters' in done.stderr


def test_a_number_with_zeros_in_front_is_the_same_number(run: Run, model: str):
    assert run("promote", "01").stdout.startswith(f"{model}@champion is version 1 now\n")
    assert run("promote", "001").stdout.startswith(f"{model}@champion is version 1 already\n")
    assert run("promote", "03", "--from", "01").returncode == 0
    assert "became champion" in run("trace", "03").stdout
    done = run("promote", "1", "--from", "0")
    assert (done.returncode, "expected version 0" in done.stderr) == (8, True)
    for number in ("0", "000", "9" * 20, "9" * 5000, "²"):
        done = run("promote", number)
        assert (done.returncode, "is not the number of a version" in done.stderr) == (6, True)


def test_make_passes_reasons_places_and_any_option(
    mlflow_url: str, model: str, registry: RegistryClient
):
    make = make_for(mlflow_url, model)
    assert make("promote", "VERSION=1").returncode == 0
    done = make("promote", "VERSION=2", "WHY=x")
    assert (done.returncode, "the gate refused" in done.stderr.lower()) == (2, True)
    assert make("promote", "VERSION=2", "FORCE=1").returncode == 2  # without a reason
    assert make("promote", "VERSION=2", "FORCE=1", "WHY=hurry").returncode == 0
    assert make("promote", "VERSION=3", "ARGS=--alias challenger").returncode == 0
    assert registry.aliases(model) == {"champion": "2", "challenger": "3"}

    done = make("rollback")
    assert (done.returncode, "A rollback needs a reason" in done.stderr) == (2, True)
    done = make("rollback", "WHY=x", "FROM=1")
    assert (done.returncode, "expected version 1" in done.stderr) == (2, True)
    why = 'Ann\'s "complaints" & `more`'
    done = make("rollback", f"WHY={why}", "FROM=2", "ARGS=--json")
    assert json.loads(done.stdout)["move"]["why"] == why
    assert registry.aliases(model)["champion"] == "1"

    moves = json.loads(make("history", "ARGS=--alias challenger --json").stdout)
    assert [move["moved_to"] for move in moves] == ["3"]
    assert len(json.loads(make("versions", "ARGS=--json").stdout)) == 3
    assert json.loads(make("status", "ARGS=--json").stdout)["aliases"]["champion"] == "1"
    assert json.loads(make("trace", "VERSION=3", "ARGS=--json").stdout)["version"] == "3"
