"""Moving an alias and going back, against a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import mlflow
import pytest

from modelyard.errors import ModelyardError, RegistryNotFoundError, RegistryUnavailableError
from modelyard.registry import RegistryClient, parse_model_uri
from modelyard.registry.promotion import history, promote, rollback


@pytest.fixture
def model(mlflow_url: str) -> Iterator[str]:
    """A registered model with three versions without files."""
    client, name = mlflow.MlflowClient(mlflow_url), f"promoted {uuid4().hex[:8]}"
    client.create_registered_model(name)
    for _ in range(3):
        model_id = client.create_logged_model("0", name="empty").model_id
        client.create_model_version(
            name, source=f"models:/{model_id}", model_id=model_id, await_creation_for=0
        )
    yield name
    client.delete_registered_model(name)


def test_promotion_moves_the_alias_and_is_on_record(registry: RegistryClient, model: str):
    promote(registry, model, "champion", "1", who="ann", why="first")
    promote(registry, model, "champion", "3", who="bob", why="better recall")
    assert registry.resolve(parse_model_uri(f"models:/{model}@champion")).version == "3"
    moves = history(registry, model, "champion")
    assert [(m.moved_from, m.moved_to, m.who, m.why) for m in moves] == [
        ("", "1", "ann", "first"),
        ("1", "3", "bob", "better recall"),
    ]


def test_promoting_what_is_promoted_changes_and_records_nothing(
    registry: RegistryClient, model: str
):
    assert promote(registry, model, "champion", "2", who="ann", why="") is not None
    assert promote(registry, model, "champion", "2", who="ann", why="") is None
    assert len(history(registry, model, "champion")) == 1


def test_rollback_goes_back_to_the_version_before(registry: RegistryClient, model: str):
    for version in ("1", "2", "3"):
        promote(registry, model, "champion", version, who="ann", why="")
    assert rollback(registry, model, "champion", who="bob", why="complaints").moved_to == "2"
    assert registry.aliased(model, "champion").version == "2"


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


def test_promotions_at_once_are_all_on_record(registry: RegistryClient, model: str):
    with ThreadPoolExecutor(8) as pool:
        versions = ["1", "2", "3"] * 4
        moves = list(
            pool.map(lambda v: promote(registry, model, "champion", v, who="all", why=""), versions)
        )
    assert len(history(registry, model, "champion")) == sum(move is not None for move in moves)
    assert registry.aliased(model, "champion").version in {"1", "2", "3"}


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
