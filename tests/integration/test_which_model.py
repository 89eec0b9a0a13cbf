"""Which registered model a command means: in an empty registry, with one model, with several."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest

from modelyard.embedded.mlflow_server import start_mlflow
from modelyard.embedded.processes import ChildProcesses
from support.models.model import register_without_files
from support.network import free_port
from support.registry_commands import Run, commands_for


@pytest.fixture(scope="module")
def own_mlflow(processes: ChildProcesses, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow of this module alone, with nothing in it at first."""
    folder: Path = tmp_path_factory.mktemp("mlflow")
    records, artifacts = f"sqlite:///{folder / 'mlflow.db'}", str(folder / "artifacts")
    return start_mlflow(processes, free_port(), records, artifacts)


@pytest.fixture
def run(own_mlflow: str) -> Run:
    return commands_for(own_mlflow, "")


@pytest.mark.parametrize("named", ["", "fraud-detector"])
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("versions",), 0, "no versions yet; train the first"),
        (("versions", "--json"), 0, "[]"),
        (("status",), 0, "none; train the first"),
        (("promote", "1"), 6, "has no model yet"),
        (("rollback", "--why", "x"), 6, "has no model yet"),
        (("history",), 6, "has no model yet"),
        (("trace", "1"), 6, "has no model yet"),
    ],
)
def test_an_empty_registry_is_no_riddle(
    run: Run, words: tuple[str, ...], code: int, said: str, named: str
):
    done = run(*words, MODEL_NAME=named)
    assert done.returncode == code
    assert said in done.stdout + done.stderr
    assert code == 0 or "fix: Train the first: docker compose" in done.stderr


def test_the_only_model_is_meant_until_there_are_several(run: Run, own_mlflow: str):
    register_without_files(own_mlflow, "fraud-detector", {})
    assert len(json.loads(run("versions", "--json").stdout)) == 1
    assert json.loads(run("status", "--json").stdout)["model"] == "fraud-detector"
    assert run("promote", "1").stdout.startswith("fraud-detector@champion is version 1 now\n")
    assert "became champion" in run("trace", "1").stdout

    register_without_files(own_mlflow, "delivery-time", {})
    for command in ("versions", "status", "history"):
        done = run(command)
        assert done.returncode == 2
        assert "Which model? The registry at" in done.stderr
        assert "has: delivery-time, fraud-detector." in done.stderr
        assert "fix: Say --model NAME, or set MODEL_NAME." in done.stderr
    assert run("history", MODEL_NAME="fraud-detector").returncode == 0

    wrong = ("--model", "fraud-detecter")
    for words in (
        ("versions",), ("versions", "--json"), ("status",), ("status", "--json"), ("history",),
        ("promote", "1"), ("rollback", "--why", "x"), ("trace", "1"),
    ):  # fmt: skip
        done = run(*words, *wrong)
        assert done.returncode == 6, words
        assert 'There is no model "fraud-detecter" in the registry' in done.stderr
        assert 'it has: delivery-time, fraud-detector. Did you mean "fraud-detector"?' in (
            done.stderr
        )
        assert done.stdout == ""


def test_a_long_list_of_models_is_cut(run: Run, own_mlflow: str):
    for number in range(105):  # more than a page of the registry's
        mlflow.MlflowClient(own_mlflow).create_registered_model(f"trial-{number:03}")
    done = run("versions", "--model", "tryal-104")
    assert "more. Did you mean" in done.stderr
    assert "trial-104" in done.stderr
