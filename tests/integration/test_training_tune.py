"""A search over an experiment: nested runs, given-up trials, and a configuration to train with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from modelyard.provenance import md5_of
from modelyard.registry import RegistryClient
from support.killed_processes import killed_at
from support.servers import ROOT

PROJECTS = ROOT / "tests/projects"
CONFIG = PROJECTS / "machine-state.yaml"


@pytest.fixture(scope="module")
def environment(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("data")
    path = folder / "measurements.parquet"
    write = "import sys, pathlib; from machine_state import dataset; "
    write += "dataset.generate(pathlib.Path(sys.argv[1]))"
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECTS),
        "MLFLOW_TRACKING_URI": mlflow_url,
        "MODELYARD_DATA_DIR": str(folder),
        "TRAINING_STATE_DIR": str(folder / "state"),
    }
    subprocess.run([sys.executable, "-c", write, path], env=environment, check=True)
    pointer = f"outs:\n- md5: {md5_of(path)}\n  size: {path.stat().st_size}\n  hash: md5\n"
    Path(f"{path}.dvc").write_text(f"{pointer}  path: {path.name}\n")
    return environment


def modelyard(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["modelyard", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_best_of_a_search_is_a_configuration_that_trains(
    environment: dict[str, str], registry: RegistryClient, tmp_path: Path
):
    output = tmp_path / "best.yaml"
    done = modelyard(
        environment, "tune", "--config", str(CONFIG), "--trials", "8",
        "--set", "experiment=search", "--set", "fit.epochs=4", "--output", str(output),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("search")
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    trials = [run for run in runs if run is not parent]
    assert len(trials) == 8
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert any("pruned" in run.data.metrics for run in trials)
    scores = [run.data.metrics.get("validation_accuracy", 0) for run in trials]
    assert parent.data.metrics["best_validation_accuracy"] == max(scores)
    assert list(registry.versions("machine-state-tuned")) == []  # a search registers nothing

    name = ("--set", "registered_model=machine-state-tuned", "--set", "promote=never")
    trained = modelyard(environment, "train", "--config", str(output), *name)
    assert trained.returncode == 0, trained.stderr
    run = registry.run(registry.version("machine-state-tuned", "1").run_id)
    assert run.params["fit.width"] == parent.data.params["fit.width"]
    assert run.params["fit.learning_rate"] == parent.data.params["fit.learning_rate"]


def killed_after_trial(number: int, environment: dict[str, str], *arguments: str) -> list[str]:
    """Search, and kill -9 it as soon as trial `number` is over; returns what it said."""
    command = [sys.executable, "-u", "-m", "modelyard.cli.main", *arguments]
    return killed_at(f"trial {number:3d}", command, environment)


def test_a_killed_search_goes_on_and_tries_no_trial_twice(
    environment: dict[str, str], tmp_path: Path
):
    output = tmp_path / "best.yaml"
    arguments = [
        "tune", "--config", str(CONFIG), "--trials", "7", "--output", str(output),
        "--set", "experiment=killed-search", "--set", "fit.epochs=4",
    ]  # fmt: skip
    said = killed_after_trial(3, environment, *arguments)
    before = [line for line in said if line.startswith("trial")]
    done = modelyard(environment, *arguments)
    assert "an interrupted search is there: --resume goes on with it" in done.stdout

    killed_after_trial(3, environment, *arguments)
    done = modelyard(environment, *arguments, "--resume")
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("resume"))
    finished = int(line.split()[-3])
    after = [line for line in done.stdout.splitlines() if line.startswith("trial")]
    assert finished >= len(before) - 1
    assert finished + len(after) == 7
    values = [line.split("  ", 1)[1] for line in (*before[:finished], *after)]
    assert len({value.strip() for value in values}) == 7  # none is tried twice

    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("killed-search")
    runs = client.search_runs([experiment.experiment_id])
    parents = {r.info.run_id: r for r in runs if r.data.tags["modelyard.kind"] == "tune"}
    second = next(run for run in parents.values() if "modelyard.resumes" in run.data.tags)
    first = parents[second.data.tags["modelyard.resumes"]]
    assert first.info.status == "KILLED"
    assert first.data.tags["modelyard.resumed_by"] == second.info.run_id
    own = [
        run for run in runs
        if run.data.tags.get("mlflow.parentRunId") in {first.info.run_id, second.info.run_id}
    ]  # fmt: skip
    assert "RUNNING" not in {run.info.status for run in own}
    scores = [run.data.metrics.get("validation_accuracy", 0) for run in own]
    assert second.data.metrics["best_validation_accuracy"] == max(scores)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--config", "configs/train.yaml"], "has no tune section"),
        (["--set", "tune.space={fit.widht: {low: 1, high: 3}}"], 'Did you mean "width"?'),
        (
            ["--set", "tune.space={fit.epochs: {low: -5, high: -2, integer: true}}"],
            "epochs: expected at least 1, found -5",
        ),
        (["--output", "/proc/nowhere/best.yaml"], "cannot be written to"),
    ],
)
def test_a_mistake_is_said_before_the_first_trial(
    environment: dict[str, str], arguments: list[str], said: str
):
    given = ["--config", str(CONFIG), "--set", "experiment=never-begun", *arguments]
    done = modelyard(environment, "tune", "--trials", "1", *given)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    client = mlflow.MlflowClient(environment["MLFLOW_TRACKING_URI"])
    assert client.get_experiment_by_name("never-begun") is None  # no run was begun
