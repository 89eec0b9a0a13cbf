"""A training that is killed goes on where it was, and both runs say so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from modelyard.registry import RegistryClient
from support.killed_processes import killed_at
from support.servers import ROOT

EPOCHS = 12


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fraud_detector import dataset

    folder = tmp_path_factory.mktemp("data")
    (folder / "transactions.parquet.dvc").write_bytes(
        (ROOT / "data/transactions.parquet.dvc").read_bytes()
    )
    dataset.generate(folder / "transactions.parquet")
    return folder


@pytest.fixture
def command(mlflow_url: str, data_dir: Path, tmp_path: Path) -> Iterator[tuple[list[str], dict]]:
    arguments = ["modelyard", "train"]
    arguments += ["--config", "configs/train-smoke.yaml", "--set", "promote=never"]
    arguments += ["--set", f"fit.epochs={EPOCHS}", "--set", f"fit.patience={EPOCHS}"]
    arguments += ["--set", "experiment=interrupted"]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": mlflow_url,
        "MODELYARD_DATA_DIR": str(data_dir),
        "TRAINING_STATE_DIR": str(tmp_path / "state"),
        "GIT_COMMIT": "0123456789abcdef0123456789abcdef01234567",
        "PYTHONUNBUFFERED": "1",
    }
    return arguments, environment


def killed_after(epoch: int, command: list[str], environment: dict) -> list[str]:
    """Run `command` and kill -9 it as soon as it has said `epoch`; returns what it said."""
    return killed_at(f"epoch {epoch:3d}", command, environment)


def test_a_killed_training_resumes_and_gives_the_model_of_an_uninterrupted_one(
    command: tuple[list[str], dict], mlflow_url: str, registry: RegistryClient, tmp_path: Path
):
    arguments, environment = command
    said = killed_after(5, [*arguments, "--set", "registered_model=interrupted"], environment)
    reached = [line.split()[1] for line in said if line.startswith("epoch")]
    done = subprocess.run(
        [*arguments, "--set", "registered_model=interrupted", "--resume"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("resume"))
    assert int(line.split()[-1]) >= int(reached[-1])  # nothing that was said is done again

    client = mlflow.MlflowClient(mlflow_url)
    second = client.get_run(registry.version("interrupted", "1").run_id)
    first = client.get_run(second.data.tags["modelyard.resumes"])
    assert first.info.status == "KILLED"
    assert first.data.tags["modelyard.resumed_by"] == second.info.run_id
    steps = client.get_metric_history(second.info.run_id, "validation_loss")
    assert [metric.step for metric in steps] == list(range(1, EPOCHS + 1))

    whole = subprocess.run(
        [*arguments, "--set", "registered_model=uninterrupted"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    graphs = []
    for name in ("interrupted", "uninterrupted"):
        registry.download(registry.version(name, "1"), tmp_path / name)
        graphs.append((tmp_path / name / "model.onnx").read_bytes())
    assert graphs[0] == graphs[1]
    assert not list((tmp_path / "state/checkpoints").iterdir())


def test_resume_with_nothing_to_resume_starts_a_new_run(command: tuple[list[str], dict]):
    arguments, environment = command
    done = subprocess.run(
        [*arguments, "--set", "fit.epochs=1", "--set", "registered_model=fresh", "--resume"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "starting a new one" in done.stdout


def test_two_processes_train_one_version(command: tuple[list[str], dict], registry: RegistryClient):
    arguments, environment = command
    arguments = [*arguments, "--set", "fit.epochs=2", "--set", "registered_model=ranked"]
    done = subprocess.run(
        [*arguments, "--processes", "2"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (version,) = registry.versions("ranked")
    assert registry.run(version.run_id).metrics["test_roc_auc"] > 0.7
