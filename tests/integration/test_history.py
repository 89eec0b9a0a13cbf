"""Moves that other tools make are on record as what they are, and a rollback takes them back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import pytest
from mlflow.tracking import MlflowClient

from modelyard.errors import RegistryError, RegistryNotFoundError, RegistryUnavailableError
from modelyard.registry import RegistryClient, turns
from modelyard.registry.moves import AliasMove, moves_of
from modelyard.registry.promotion import notice, promote, rollback
from support.models.model import register_without_files
from support.registry_commands import commands_for

Steps = list[tuple[str, str, str]]


class Champion:
    """The alias of a model with four versions; by commands, and by hand as MLflow's UI does it."""

    def __init__(self, registry: RegistryClient, url: str) -> None:
        self.registry = registry
        self.name = f"history-{uuid4().hex[:8]}"
        self.by_hand = MlflowClient(url)
        register_without_files(url, self.name, {}, {}, {}, {})

    def promote(self, *versions: str) -> None:
        for version in versions:
            promote(self.registry, self.name, "champion", version, who="ann", why="")

    def rollback(self) -> str:
        return rollback(self.registry, self.name, "champion", who="bob", why="x").moved_to

    def move_by_hand(self, version: str) -> None:
        self.by_hand.set_registered_model_alias(self.name, "champion", version)

    def remove_by_hand(self) -> None:
        self.by_hand.delete_registered_model_alias(self.name, "champion")

    def delete_version(self, version: str) -> None:
        self.by_hand.delete_model_version(self.name, version)

    def notice(self) -> list[AliasMove]:
        model = self.registry.registered_model(self.name)
        return notice(self.registry, model, "champion", "carl")

    @property
    def steps(self) -> Steps:
        moves = moves_of(self.registry.registered_model(self.name), "champion")
        return [(move.moved_from, move.moved_to, str(move.action)) for move in moves]


@pytest.fixture
def champion(registry: RegistryClient, mlflow_url: str) -> Champion:
    return Champion(registry, mlflow_url)


def test_a_move_by_hand_is_rolled_back_to_where_the_alias_was(champion: Champion):
    champion.promote("1", "2")
    champion.move_by_hand("3")
    assert champion.rollback() == "2"
    assert champion.steps[2:] == [("2", "3", "observed"), ("3", "2", "rollback")]
    assert champion.rollback() == "1"


def test_a_move_back_by_hand_is_taken_back_like_any_other(champion: Champion):
    champion.promote("1", "2")
    champion.move_by_hand("1")
    assert champion.rollback() == "2"
    assert champion.steps == [
        *(("", "1", "promote"), ("1", "2", "promote")),
        *(("2", "1", "observed"), ("1", "2", "rollback")),
    ]
    assert champion.rollback() == "1"
    with pytest.raises(RegistryNotFoundError, match="No earlier version"):
        champion.rollback()


def test_several_moves_by_hand_with_one_look_each_are_all_there(champion: Champion):
    champion.promote("1", "2", "3")
    for version in ("1", "4", "2"):
        champion.move_by_hand(version)
        noticed = champion.notice()[-1]
        assert (noticed.moved_to, noticed.who) == (version, "unknown")
        assert noticed.why.startswith("moved by hand or by another tool; noticed at 20")
        assert noticed.why.endswith("UTC by carl")
    assert [(source, target) for source, target, _ in champion.steps] == [
        *(("", "1"), ("1", "2"), ("2", "3")),
        *(("3", "1"), ("1", "4"), ("4", "2")),
    ]
    assert [champion.rollback() for _ in range(2)] == ["4", "1"]


def test_a_promotion_puts_on_record_what_came_before_it(champion: Champion):
    champion.move_by_hand("2")
    champion.promote("3")
    assert champion.steps == [("", "2", "observed"), ("2", "3", "promote")]
    champion.move_by_hand("1")
    champion.promote("1")  # it is there already, and that is no promotion
    assert champion.steps[2:] == [("3", "1", "observed")]
    assert champion.rollback() == "3"


def test_an_alias_that_was_removed_is_set_again_by_a_rollback(champion: Champion):
    champion.promote("1", "2")
    champion.remove_by_hand()
    assert champion.rollback() == "2"
    assert champion.steps[2:] == [("2", "", "observed"), ("", "2", "rollback")]
    assert champion.rollback() == "1"


def test_an_alias_that_was_removed_and_set_again_goes_back_to_where_it_was(champion: Champion):
    champion.promote("1", "2")
    champion.remove_by_hand()
    champion.notice()
    champion.move_by_hand("3")
    assert champion.rollback() == "2"
    assert [target for _, target, _ in champion.steps] == ["1", "2", "", "3", "2"]


def test_a_version_that_was_deleted_takes_its_alias_with_it(champion: Champion):
    champion.promote("1", "2", "3")
    champion.delete_version("3")
    assert champion.notice()[-1].why.startswith("removed, or its version was deleted")
    assert champion.rollback() == "2"
    moves = moves_of(champion.registry.registered_model(champion.name), "champion")
    assert moves[-1].passed_over == ("3",)


def test_a_look_records_a_move_once_however_many_look(champion: Champion):
    champion.promote("1")
    champion.move_by_hand("2")
    for _ in range(3):
        champion.notice()
    tags = champion.registry.registered_model(champion.name).tags
    assert len([key for key in tags if key.startswith("modelyard.promotion.")]) == 2


def test_records_of_earlier_releases_are_read_as_a_chain(champion: Champion):
    """They left out what others moved, and what was moved at the same moment."""
    old = [("", "1"), ("3", "2"), ("2", "4"), ("1", "3")]
    for second, (source, target) in enumerate(old):
        at = f"2026-01-01T00:00:0{second}+00:00"
        fields = asdict(AliasMove("champion", source, target, at, "ann", ""))
        del fields["passed_over"]  # older still
        key = f"modelyard.promotion.champion.20260101T00000{second}.000000.abcdef"
        champion.registry.set_model_tag(champion.name, key, json.dumps(fields))
    champion.move_by_hand("3")
    assert champion.steps == [
        ("", "1", "promote"),
        ("1", "3", "observed"),
        ("3", "2", "promote"),
        ("2", "4", "promote"),
        ("4", "1", "observed"),
        ("1", "3", "promote"),
    ]
    assert champion.rollback() == "1"


def test_history_and_status_tell_it_in_order(champion: Champion, mlflow_url: str):
    run = commands_for(mlflow_url, champion.name)
    assert run("promote", "1", "--why", "first").returncode == 0
    champion.move_by_hand("2")
    said = " ".join(run("status").stdout.split())
    assert "@champion version 2: moved by hand or by another tool; noticed at 20" in said
    champion.remove_by_hand()
    assert "@champion not set: removed, or its version" in " ".join(run("status").stdout.split())
    assert run("rollback", "--why", "back").returncode == 0
    champion.move_by_hand("3")
    moves = json.loads(run("history", "--json").stdout)
    assert [(move["moved_from"], move["moved_to"], move["action"]) for move in moves] == [
        ("", "1", "promote"),
        ("1", "2", "observed"),
        ("2", "", "observed"),
        ("", "2", "rollback"),
        ("2", "3", "observed"),
    ]
    assert {frozenset(move) for move in moves} == {
        frozenset(AliasMove.__dataclass_fields__),
    }
    lines = run("history").stdout.splitlines()
    assert len(lines) == 6
    assert "observed" in lines[2]


class ReadOnly(RegistryClient):
    """A connection that may only read."""

    def set_model_tag(self, *_: str) -> None:
        raise RegistryError("MLflow answered 403: read only")


def test_who_may_only_read_is_told_all_the_same(champion: Champion, mlflow_url: str):
    champion.promote("1")
    champion.move_by_hand("2")
    with ReadOnly(mlflow_url) as reader:
        moves = notice(reader, reader.registered_model(champion.name), "champion", "eve")
    assert [move.moved_to for move in moves] == ["1", "2"]
    assert len(champion.steps) == 1


KILLED = """
import os, signal, sys
from modelyard.registry import RegistryClient
from modelyard.registry.promotion import promote

class Dying(RegistryClient):
    def set_alias(self, name, alias, version):
        if sys.argv[3] == "after":
            super().set_alias(name, alias, version)
        os.kill(os.getpid(), signal.SIGKILL)

promote(Dying(sys.argv[1]), sys.argv[2], "champion", "2", who="dan", why="better")
"""


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """What died is held for dead after a second: nothing here takes that long in its turn."""
    monkeypatch.setattr(turns, "LEASE_S", 1.0)


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_command_that_is_killed_over_its_move_is_recorded_by_the_next_one(
    champion: Champion, mlflow_url: str, when: str
):
    champion.promote("1")
    command = [sys.executable, "-c", KILLED, mlflow_url, champion.name, when]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": _SOURCES}, check=False)
    assert done.returncode == -9
    champion.promote("3")
    moves = moves_of(champion.registry.registered_model(champion.name), "champion")
    expected = [("1", "ann"), ("2", "dan"), ("3", "ann")]
    assert [(move.moved_to, move.who) for move in moves] == (
        expected if when == "after" else [expected[0], expected[2]]
    )
    if when == "after":
        assert (moves[1].why, str(moves[1].action)) == ("better", "promote")
    tags = champion.registry.registered_model(champion.name).tags
    assert not [key for key in tags if key.startswith("modelyard.turn.")]


class Failing(RegistryClient):
    """The real client; the record of a move cannot be written."""

    def set_model_tag(self, name: str, key: str, value: str) -> None:
        if key.startswith("modelyard.promotion."):
            raise RegistryUnavailableError("MLflow does not answer.")
        super().set_model_tag(name, key, value)


@pytest.mark.usefixtures("short_lease")
def test_a_move_that_could_not_be_recorded_is_when_it_is_run_again(
    champion: Champion, mlflow_url: str
):
    champion.promote("1")
    with (
        Failing(mlflow_url) as failing,
        pytest.raises(RegistryUnavailableError, match="version 2 now, and this is not on record"),
    ):
        promote(failing, champion.name, "champion", "2", who="dan", why="better")
    champion.promote("2")
    moves = moves_of(champion.registry.registered_model(champion.name), "champion")
    assert [(move.moved_to, move.who, move.why) for move in moves] == [
        ("1", "ann", ""), ("2", "dan", "better"),
    ]  # fmt: skip


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("text", ["", "x", "null", '{"number": "9"}', '{"number": -1}', "[" * 900])
def test_a_ticket_that_is_none_is_waited_for_and_removed(champion: Champion, text: str):
    key = "modelyard.turn.champion.scribble"
    champion.registry.set_model_tag(champion.name, key, text or "\u200b")
    champion.promote("1")
    assert key not in champion.registry.registered_model(champion.name).tags


def test_a_long_reason_in_any_script_is_kept_as_far_as_the_registry_can(champion: Champion):
    why = "größer ist nicht besser 测试 " * 300
    promote(champion.registry, champion.name, "champion", "1", who="ann", why=why)
    (move,) = moves_of(champion.registry.registered_model(champion.name), "champion")
    assert why.startswith(move.why)
    assert len(move.why) == 2000


_SOURCES = str(Path(__file__).parents[2] / "src")
