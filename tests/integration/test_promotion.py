"""Moving an alias and going back, against a real registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import mlflow
import pytest

from modelyard.errors import (
    AliasOvertakenError,
    ModelyardError,
    PromotionConflictError,
    RegistryNotFoundError,
    RegistryUnavailableError,
)
from modelyard.registry import RegistryClient, parse_model_uri
from modelyard.registry.moves import AliasMove, moves_of
from modelyard.registry.promotion import promote, rollback
from support.models.model import register_without_files


@pytest.fixture
def model(mlflow_url: str) -> Iterator[str]:
    """A registered model with three versions without files."""
    name = register_without_files(mlflow_url, f"promoted {uuid4().hex[:8]}", {}, {}, {})
    yield name
    mlflow.MlflowClient(mlflow_url).delete_registered_model(name)


def steps(registry: RegistryClient, model: str) -> list[tuple[str, str, str]]:
    moves = moves_of(registry.registered_model(model), "champion")
    return [(move.moved_from, move.moved_to, str(move.action)) for move in moves]


def test_promotion_moves_the_alias_and_is_on_record(registry: RegistryClient, model: str):
    promote(registry, model, "champion", "1", who="ann", why="first")
    promote(registry, model, "champion", "3", who="bob", why="better recall")
    assert registry.resolve(parse_model_uri(f"models:/{model}@champion")).version == "3"
    moves = moves_of(registry.registered_model(model), "champion")
    assert [(m.moved_from, m.moved_to, m.who, m.why) for m in moves] == [
        ("", "1", "ann", "first"),
        ("1", "3", "bob", "better recall"),
    ]


def test_promoting_what_is_promoted_changes_and_records_nothing(
    registry: RegistryClient, model: str
):
    assert promote(registry, model, "champion", "2", who="ann", why="") is not None
    assert promote(registry, model, "champion", "2", who="ann", why="") is None
    assert len(moves_of(registry.registered_model(model), "champion")) == 1


def test_rollbacks_go_back_one_version_each(registry: RegistryClient, model: str):
    for version in ("1", "2", "3"):
        promote(registry, model, "champion", version, who="ann", why="")
    first = rollback(registry, model, "champion", who="bob", why="complaints")
    assert (first.moved_from, first.moved_to, first.action) == ("3", "2", "rollback")
    assert rollback(registry, model, "champion", who="bob", why="more complaints").moved_to == "1"
    assert registry.aliased(model, "champion").version == "1"
    with pytest.raises(RegistryNotFoundError, match="No earlier version"):
        rollback(registry, model, "champion", who="bob", why="")
    moves = moves_of(registry.registered_model(model), "champion")
    assert [(m.moved_from, m.moved_to) for m in moves] == [
        *(("", "1"), ("1", "2"), ("2", "3")),
        *(("3", "2"), ("2", "1")),
    ]


def test_a_promotion_after_a_rollback_is_rolled_back_to_where_that_led(
    registry: RegistryClient, model: str
):
    for version in ("1", "2"):
        promote(registry, model, "champion", version, who="ann", why="")
    rollback(registry, model, "champion", who="ann", why="")
    promote(registry, model, "champion", "3", who="ann", why="")
    assert rollback(registry, model, "champion", who="ann", why="").moved_to == "1"


def test_rollback_passes_over_a_version_that_was_deleted(
    registry: RegistryClient, model: str, mlflow_url: str
):
    for version in ("1", "2", "3"):
        promote(registry, model, "champion", version, who="ann", why="")
    mlflow.MlflowClient(mlflow_url).delete_model_version(model, "2")
    assert rollback(registry, model, "champion", who="ann", why="").moved_to == "1"


def test_an_alias_that_was_moved_by_another_tool_can_be_rolled_back(
    registry: RegistryClient, model: str
):
    promote(registry, model, "champion", "1", who="ann", why="")
    promote(registry, model, "champion", "2", who="ann", why="")
    registry.set_alias(model, "champion", "3")  # as MLflow's own UI does it
    assert rollback(registry, model, "champion", who="ann", why="").moved_to == "2"
    assert rollback(registry, model, "champion", who="ann", why="").moved_to == "1"


def test_an_expected_version_is_compared_before_the_move(registry: RegistryClient, model: str):
    promote(registry, model, "champion", "1", who="ann", why="first", expected="")
    for act in (
        lambda: promote(registry, model, "champion", "3", who="bob", why="", expected="2"),
        lambda: promote(registry, model, "champion", "3", who="bob", why="", expected=""),
        lambda: rollback(registry, model, "champion", who="bob", why="", expected="2"),
    ):
        with pytest.raises(PromotionConflictError, match=r'is at version 1 \(ann, .*"first"\)'):
            act()
    assert registry.aliased(model, "champion").version == "1"
    assert promote(registry, model, "champion", "2", who="bob", why="", expected="1") is not None


class Interrupted(RegistryClient):
    """The real client; something happens right after it sets an alias."""

    after: Callable[[], object] = staticmethod(lambda: None)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        super().set_alias(name, alias, version)
        self.after()


def test_who_is_overtaken_is_told_and_both_moves_are_on_record(
    registry: RegistryClient, model: str, mlflow_url: str
):
    promote(registry, model, "champion", "1", who="ann", why="")
    with Interrupted(mlflow_url) as overtaken:
        overtaken.after = lambda: registry.set_alias(model, "champion", "3")  # by hand
        with pytest.raises(AliasOvertakenError) as caught:
            promote(overtaken, model, "champion", "2", who="ann", why="")
    assert f"{model}@champion is at version 3" in caught.value.detail
    assert "your move to version 2, which is on record" in caught.value.detail
    assert registry.aliased(model, "champion").version == "3"
    assert steps(registry, model) == [
        ("", "1", "promote"), ("1", "2", "promote"), ("2", "3", "observed"),
    ]  # fmt: skip


def test_two_rollbacks_at_once_go_back_one_version(registry: RegistryClient, model: str):
    for version in ("1", "2", "3"):
        promote(registry, model, "champion", version, who="ann", why="")
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(rollback, registry, model, "champion", who=who, why="", expected="3")
            for who in ("a", "b")
        ]
        errors = [run.exception() for run in runs]
    assert sorted(type(error).__name__ for error in errors) == [
        "NoneType", "PromotionConflictError",
    ]  # fmt: skip
    assert registry.aliased(model, "champion").version == "2"


def test_a_record_follows_the_last_one_even_where_a_clock_lags(
    registry: RegistryClient, model: str
):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    ahead = AliasMove("champion", "", "1", tomorrow.isoformat(), "clock ahead", "")
    registry.set_alias(model, "champion", "1")
    key = f"modelyard.promotion.champion.{tomorrow:%Y%m%dT%H%M%S.%f}.abc"
    registry.set_model_tag(model, key, json.dumps(asdict(ahead)))
    promote(registry, model, "champion", "2", who="ann", why="")
    assert [m.moved_to for m in moves_of(registry.registered_model(model), "champion")] == [
        "1",
        "2",
    ]
    assert rollback(registry, model, "champion", who="ann", why="").moved_to == "1"


def test_rollback_without_a_version_before_says_so(registry: RegistryClient, model: str):
    with pytest.raises(RegistryNotFoundError):
        rollback(registry, model, "champion", who="ann", why="")
    promote(registry, model, "champion", "1", who="ann", why="")
    with pytest.raises(RegistryNotFoundError, match="No earlier version"):
        rollback(registry, model, "champion", who="ann", why="")


def test_no_such_version_and_no_such_model_are_said(registry: RegistryClient, model: str):
    with pytest.raises(RegistryNotFoundError):
        promote(registry, model, "champion", "99", who="ann", why="")
    with pytest.raises(RegistryNotFoundError):
        promote(registry, "no-such-model", "champion", "1", who="ann", why="")
    assert registry.aliases(model) == {}


def test_promotions_at_once_are_all_on_record_in_a_chain(registry: RegistryClient, model: str):
    """Four writers with ten promotions each."""

    def write(who: int) -> int:
        versions = (str(1 + (who + number) % 3) for number in range(10))
        return sum(
            promote(registry, model, "champion", version, who=f"writer {who}", why="") is not None
            for version in versions
        )

    with ThreadPoolExecutor(4) as pool:
        moved = sum(pool.map(write, range(4)))
    found = registry.registered_model(model)
    moves = moves_of(found, "champion")
    assert len(moves) == moved
    assert {move.action for move in moves} == {"promote"}  # nothing had to be filled in
    assert [move.moved_from for move in moves] == ["", *(move.moved_to for move in moves[:-1])]
    assert found.aliases["champion"] == moves[-1].moved_to
    assert [move.at for move in moves] == sorted(move.at for move in moves)
    assert not [key for key in found.tags if key.startswith("modelyard.turn.")]


def test_first_promotions_at_once_all_happen(registry: RegistryClient, model: str):
    """MLflow would fail one of two inserts of the same alias."""
    for number in range(3):
        alias = f"first-{number}"
        with ThreadPoolExecutor(3) as pool:
            runs = [
                pool.submit(promote, registry, model, alias, version, who=version, why="")
                for version in ("1", "2", "3")
            ]
            assert [run.exception() for run in runs] == [None] * 3
        assert len(moves_of(registry.registered_model(model), alias)) == 3


def test_an_alias_that_is_not_there_names_the_one_that_was_meant(
    registry: RegistryClient, model: str
):
    promote(registry, model, "champion", "1", who="ann", why="")
    with pytest.raises(RegistryNotFoundError, match=r'has: champion\. Did you mean "champion"'):
        rollback(registry, model, "champoin", who="ann", why="")


@pytest.mark.parametrize("version", ["latest", "v1", "", "-1", "1.0"])
def test_what_is_no_version_number_is_said(registry: RegistryClient, model: str, version: str):
    with pytest.raises(RegistryNotFoundError, match="not the number of a version"):
        promote(registry, model, "champion", version, who="ann", why="")


@pytest.mark.parametrize("form", ["/1", "/latest", "@champion", "/Production"])
def test_every_form_of_address_is_resolved(
    registry: RegistryClient, model: str, mlflow_url: str, form: str
):
    promote(registry, model, "champion", "2", who="ann", why="")
    with pytest.warns(FutureWarning):
        mlflow.MlflowClient(mlflow_url).transition_model_version_stage(model, "2", "Production")
    expected = {"/1": "1", "/latest": "3", "@champion": "2", "/Production": "2"}
    assert registry.resolve(parse_model_uri(f"models:/{model}{form}")).version == expected[form]


@pytest.mark.parametrize("uri", ["models:/nope/latest", "models:/nope@x", "models:/nope/7"])
def test_what_is_not_there_is_not_found(registry: RegistryClient, uri: str):
    with pytest.raises(RegistryNotFoundError):
        registry.resolve(parse_model_uri(uri))


def test_a_version_whose_files_are_lost_says_so(registry: RegistryClient, model: str, tmp_path):
    with pytest.raises(RegistryNotFoundError, match="not in the artifact store"):
        registry.download(registry.version(model, "1"), tmp_path)


def test_a_server_that_is_not_mlflow_or_not_there_is_an_error_with_a_fix():
    with RegistryClient("http://127.0.0.1:9") as nobody:
        with pytest.raises(RegistryUnavailableError) as caught:
            nobody.aliases("x")
        assert caught.value.fix
        assert isinstance(caught.value, ModelyardError)
