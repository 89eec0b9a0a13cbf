"""Versions that claim to be harmless, and are pickles: what they claim decides nothing.

Each holds code that runs as soon as somebody unpickles it, and copies a secret of the training.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.contract import Contract
from modelyard.errors import ModelyardError
from modelyard.registry import ModelVersion
from modelyard.scoring.bundle import open_bundle
from modelyard.scoring.child.confinement import gaps
from modelyard.scoring.child.opening import ChildOptions
from modelyard.training.judge.champion import open_champion
from support.models.folders import FolderRegistry
from support.models.toy import CONTRACT

pytestmark = pytest.mark.skipif(bool(gaps()), reason="this kernel cannot confine")

SKLEARN = """
flavors:
  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl, predict_fn: predict}
  sklearn: {pickled_model: model.pkl, serialization_format: %s, sklearn_version: 1.9.1}
"""
MLMODELS = {
    "skops": SKLEARN % "skops",
    "pickle": SKLEARN % "pickle",
    "onnx": "flavors: {onnx: {data: model.onnx}, python_function: {loader_module: mlflow.onnx}}\n",
    "torch": "flavors: {python_function: {loader_module: mlflow.pytorch, model_data: data},"
    " pytorch: {model_data: data, pytorch_version: 2.13.0}}\n",
    "code": "flavors: {python_function: {loader_module: disguised, code: code}}\n",
    "nothing": "flavors: {}\n",
}
PICKLES = ("model.pkl", "model.onnx", "model.skops", "data/model.pth", "python_model.pkl")


class Payload:
    """Copies the secret, as code that training unpickled could."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return exec, (self._code,)


def stealing(secret: Path, copy: Path, ran: str) -> str:
    return (
        "import os, pathlib\n"
        f"print({ran!r}, flush=True)\n"
        f"pathlib.Path({str(copy)!r}).write_bytes(pathlib.Path({str(secret)!r}).read_bytes())\n"
    )


def write_disguised(folder: Path, mlmodel: str, code: str) -> None:
    for name in PICKLES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pickle.dumps(Payload(code)))
    (folder / "data/pickle_module_info.txt").write_text("pickle")
    (folder / "code").mkdir()
    (folder / "code/disguised.py").write_text(f"{code}\ndef _load_pyfunc(path): raise OSError\n")
    (folder / "MLmodel").write_text(mlmodel)
    (folder / "contract.yaml").write_text(Contract.model_validate(CONTRACT).to_yaml())
    (folder / "baseline.json").write_bytes(pickle.dumps(Payload(code)))


class Registry(FolderRegistry):
    """A registry whose alias the gate looks up by its name."""

    def aliased(self, _name: str, _alias: str) -> ModelVersion:
        assert self.alias is not None
        return self.versions[self.alias]


@pytest.mark.parametrize("claim", ["skops", "onnx", "torch", "code", "nothing"])
def test_no_claim_lets_a_champions_code_run_in_the_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], claim: str
):
    secret, copy = tmp_path / "s3-credentials", tmp_path / "copy"
    secret.write_text("aws_secret_access_key = 4711")

    def write(folder: Path, _: int) -> str:
        write_disguised(folder, MLMODELS[claim], stealing(secret, copy, "unpickled here"))
        return ""

    registry = Registry(tmp_path / "registry")
    registry.add(1, write=write)
    with open_champion(registry, "m", "champion") as champion:
        assert champion is not None
        assert champion.model is None
        assert champion.why_not
    assert not copy.exists()
    said = capfd.readouterr()
    assert "unpickled here" not in said.out + said.err


def test_such_code_does_run_where_it_is_unpickled(tmp_path: Path):
    secret, copy = tmp_path / "s3-credentials", tmp_path / "copy"
    secret.write_text("4711")
    write_disguised(tmp_path / "v", MLMODELS["pickle"], stealing(secret, copy, "unpickled"))
    with (tmp_path / "v/model.pkl").open("rb") as file:
        pickle.load(file)
    assert copy.read_text() == "4711"


def test_the_child_that_unpickles_it_reaches_no_secret(tmp_path: Path):
    secret, copy = tmp_path / "s3-credentials", tmp_path / "copy"
    secret.write_text("4711")
    write_disguised(tmp_path / "v", MLMODELS["code"], stealing(secret, copy, "ran in the child"))
    with pytest.raises(ModelyardError, match="PermissionError"):
        open_bundle(tmp_path / "v", ChildOptions.offline())
    assert not copy.exists()
