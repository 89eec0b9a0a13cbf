"""Strict mode: artifacts made to run code, or to reach outside, are refused and none of it runs."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.errors import ContractError, ModelRefusedError
from modelyard.scoring.child.process import ChildProcess
from modelyard.scoring.onnx.runner import OnnxModel
from support.attacks import (
    ATTACKS,
    Bomb,
    loader_module_in_the_version,
    pickle_of_the_pytorch_flavor,
    pickle_of_the_sklearn_flavor,
)
from support.models.folders import FolderRegistry
from support.serving_app import MakeServer, Server


class LinkingRegistry(FolderRegistry):
    """A registry whose download lays the very folder in place, links and all."""

    def download(self, version, folder: Path, _transfer=None) -> None:
        folder.rmdir()
        Path(version.source).rename(folder)


@pytest.fixture
def strict(make_server: MakeServer, tmp_path: Path) -> Iterator[Server]:
    before = list(sys.path)
    yield make_server(LinkingRegistry(tmp_path / "registry"), model_formats="onnx")
    assert sys.path == before


@pytest.mark.parametrize("name", ATTACKS)
def test_no_artifact_runs_code_or_reaches_outside(
    strict: Server, tmp_path: Path, monkeypatch, name: str
):
    canary = tmp_path / "canary"
    imported = set(sys.modules)
    version = strict.registry.add(1, manifest=False)
    ATTACKS[name](Path(version.source), canary)
    started: list[object] = []
    monkeypatch.setattr(ChildProcess, "__init__", lambda *given: started.append(given))
    # a graph that cannot be looked through goes to a process too, as data; here it opens at once
    monkeypatch.setattr("modelyard.scoring.bundle.OpenedGraph", lambda _, path, __: OnnxModel(path))
    with pytest.raises((ModelRefusedError, ContractError)) as refusal:
        strict.loader.load(version, None)
    assert len(refusal.value.sentence().split()) > 5
    assert not canary.exists()
    assert not started
    assert not {"mlflow", "evil_loader", "antigravity"} & (sys.modules.keys() - imported)


def test_the_attacks_are_many_and_what_they_spoil_would_be_served(strict: Server):
    assert len(ATTACKS) >= 20
    version = strict.registry.add(1, manifest=False)
    assert strict.loader.load(version, None).version.version == "1"


def test_the_canary_would_sing(tmp_path: Path):
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Bomb(canary)))
    assert canary.exists()


def test_a_version_that_needs_code_is_refused_naming_the_setting(strict: Server):
    version = strict.registry.add(1, manifest=False)
    loader_module_in_the_version(Path(version.source), Path("/nowhere"))
    with pytest.raises(ModelRefusedError) as refusal:
        strict.loader.load(version, None)
    assert "SERVING_MODEL_FORMATS=any" in refusal.value.fix
    assert "python_function" in refusal.value.detail


def test_where_mlflow_is_not_installed_the_image_that_has_it_is_named(
    make_server: MakeServer, tmp_path: Path, monkeypatch
):
    server = make_server(LinkingRegistry(tmp_path / "registry"))
    monkeypatch.setattr("modelyard.scoring.child.opening.find_spec", lambda name: None)
    version = server.registry.add(1, manifest=False)
    pickle_of_the_sklearn_flavor(Path(version.source), tmp_path / "canary")
    with pytest.raises(ModelRefusedError) as refusal:
        server.loader.load(version, None)
    assert "SERVING_TARGET=pyfunc" in refusal.value.fix


def test_where_torch_is_not_installed_its_image_is_named(
    make_server: MakeServer, tmp_path: Path, monkeypatch
):
    server = make_server(LinkingRegistry(tmp_path / "registry"))
    monkeypatch.setattr(
        "modelyard.scoring.child.opening.find_spec", lambda name: None if name == "torch" else 1
    )
    version = server.registry.add(1, manifest=False)
    pickle_of_the_pytorch_flavor(Path(version.source), tmp_path / "canary")
    with pytest.raises(ModelRefusedError) as refusal:
        server.loader.load(version, None)
    assert "SERVING_TARGET=torch" in refusal.value.fix
