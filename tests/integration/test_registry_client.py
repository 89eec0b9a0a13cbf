"""The registry client against a real MLflow server."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from modelyard.errors import RegistryNotFoundError
from modelyard.registry import RegistryClient, parse_model_uri, read_manifest, verify_files
from modelyard.registry.manifest import DIGEST_TAG
from support.models.model import register_toy

NAME = "a model of-the_client's.own"


@pytest.fixture(scope="module")
def model(mlflow_url: str) -> str:
    """Two versions; the first is champion and in Production."""
    register_toy(mlflow_url, NAME, 1, alias="champion")
    register_toy(mlflow_url, NAME, 2)
    client = MlflowClient(mlflow_url)
    client.transition_model_version_stage(NAME, "1", "Production")
    return NAME


@pytest.mark.parametrize(
    ("form", "version"), [("@champion", "1"), ("/2", "2"), ("/latest", "2"), ("/Production", "1")]
)
def test_every_form_of_address_is_resolved(registry: RegistryClient, model, form, version):
    found = registry.resolve(parse_model_uri(f"models:/{model}{form}"))
    assert (found.name, found.version, found.status) == (model, version, "READY")
    assert found.tags["git.commit"] == "c0ffee"
    assert found.created_ms > 0


@pytest.mark.parametrize("form", ["@nobody", "/99", "/Staging"])
def test_what_a_model_has_not_is_not_found(registry: RegistryClient, model, form):
    with pytest.raises(RegistryNotFoundError):
        registry.resolve(parse_model_uri(f"models:/{model}{form}"))


@pytest.mark.parametrize("form", ["@champion", "/1", "/latest", "/Production"])
def test_a_model_that_is_not_there_is_not_found(registry: RegistryClient, form):
    with pytest.raises(RegistryNotFoundError):
        registry.resolve(parse_model_uri(f"models:/no-such-model{form}"))


def test_versions_come_newest_first(registry: RegistryClient, model):
    assert [v.version for v in registry.versions(model)] == ["2", "1"]
    assert list(registry.versions("no-such-model")) == []


def test_the_run_of_a_version_tells_its_metrics(registry: RegistryClient, model):
    version = registry.version(model, "2")
    run = registry.run(version.run_id)
    assert run.metrics == {"auc": 0.52}
    assert run.status == "FINISHED"
    assert run.tags["mlflow.source.type"]
    with pytest.raises(RegistryNotFoundError):
        registry.run("0" * 32)


def test_a_download_is_what_was_registered(registry: RegistryClient, model, tmp_path: Path):
    version = registry.version(model, "1")
    registry.download(version, tmp_path / "new")
    manifest = read_manifest(tmp_path / "new", version.tags[DIGEST_TAG])
    verify_files(tmp_path / "new", manifest)
    assert {"MLmodel", "model.onnx", "contract.yaml"} <= set(manifest)
