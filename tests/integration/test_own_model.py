"""Projects that the platform has never seen: one from the documentation, one from the tests."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import mlflow.onnx
import numpy as np
import onnxruntime
import pytest

from modelyard.provenance import md5_of
from modelyard.registry import RegistryClient
from support.network import free_port
from support.servers import ROOT, Store, answers

DOCUMENT = ROOT / "docs/your-own-model.md"
FILE = re.compile(r"^`(\S+)`\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROJECTS = ROOT / "tests/projects"
VENV = str(Path(sys.executable).parent)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository to write a project into."""
    folder = tmp_path / "checkout"
    for name in ("src", "configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".dvc/config", "data/transactions.parquet.dvc", "entrypoint.sh"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def stop(process: subprocess.Popen[str]) -> str:
    """Ctrl-C; returns what the process said since."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        return process.communicate(timeout=60)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_walk_through_the_documentation_ends_in_a_served_model(checkout: Path):
    text = DOCUMENT.read_text()
    platform = {p: md5_of(p) for p in (checkout / "src/modelyard").rglob("*.py")}
    for name, body in FILE.findall(text):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text(body)
    prepare, demo, ask = COMMANDS.findall(text)
    port = free_port()
    environment = {
        **os.environ,
        "PATH": f"{VENV}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout / "src"),
        "MLFLOW_PORT": str(free_port()),
        "GATEWAY_PORT": str(port),
        "TRAINING_STATE_DIR": str(checkout / "state"),
        "DVC_NO_ANALYTICS": "1",
    }
    subprocess.run(["bash", "-ec", prepare], cwd=checkout, env=environment, check=True)
    process = subprocess.Popen(
        ["bash", "-c", f"exec env {demo}"], cwd=checkout, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C stops everything." in line:
                break
        assert process.poll() is None, "".join(said)
        asked = subprocess.run(
            ["bash", "-ec", ask.replace("localhost:8000", f"127.0.0.1:{port}")],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
    finally:
        stop(process)
    output = "".join(said)
    assert "package   ONNX graph, with float32 features" in output
    assert "better than the baseline" in output
    decoder = json.JSONDecoder()
    prediction, end = decoder.raw_decode(asked.stdout)
    # 12 km at 1.8 minutes, half as much again in the rush hour, 5 to begin with, 0.8 a parcel
    assert prediction["prediction"][0] == pytest.approx(5 + 12 * 1.8 * 1.5 + 15 * 0.8, abs=6)
    model, _ = decoder.raw_decode(asked.stdout[end:].strip())
    assert model["name"] == "delivery-time"
    assert {p: md5_of(p) for p in platform} == platform  # nothing of the platform was changed


@dataclass
class Machines:
    """`modelyard` with the second project on its path and its data in a folder."""

    folder: Path
    mlflow_url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(PROJECTS),
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "MODELYARD_DATA_DIR": str(self.folder),
            "TRAINING_STATE_DIR": str(self.folder / "state"),
        }

    def __call__(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        config = str(PROJECTS / "machine-state.yaml")
        return subprocess.run(
            ["modelyard", command, "--config", config, *arguments],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def machines(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Machines:
    folder = tmp_path_factory.mktemp("machines")
    path = folder / "measurements.parquet"
    write = "import sys, pathlib; from machine_state import dataset; "
    write += "dataset.generate(pathlib.Path(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", write, path],
        env={**os.environ, "PYTHONPATH": str(PROJECTS)},
        check=True,
    )
    write_pointer(path)
    return Machines(folder, mlflow_url)


def write_pointer(path: Path) -> None:
    pointer = f"outs:\n- md5: {md5_of(path)}\n  size: {path.stat().st_size}\n  hash: md5\n"
    Path(f"{path}.dvc").write_text(f"{pointer}  path: {path.name}\n")


@contextmanager
def served(machines: Machines, uri: str, cache: Path) -> Iterator[str]:
    """The prediction API for the model at `uri`."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard.serving"],
        cwd=ROOT,
        env={
            **machines.environment,
            "PYTHONPATH": "",  # the server knows no project
            "MODEL_URI": uri,
            "SERVING_HOST": "127.0.0.1",
            "SERVING_PORT": str(port),
            "SERVING_CACHE_DIR": str(cache),
            "SERVING_PREDICTION_LOG_DIR": str(cache / "predictions"),
        },
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not answers(f"{url}/health"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def test_another_task_with_other_columns_trains_registers_and_is_served(
    machines: Machines, registry: RegistryClient, tmp_path: Path
):
    done = machines("train")
    assert done.returncode == 0, done.stderr
    version = registry.aliased("machine-state", "champion")
    run = registry.run(version.run_id)
    assert run.metrics["test_accuracy"] > 0.75
    assert run.metrics["test_accuracy_low"] < run.metrics["test_accuracy"]
    assert "baseline_f1_macro" in run.metrics
    client = mlflow.MlflowClient(machines.mlflow_url)
    artifacts = {artifact.path for artifact in client.list_artifacts(version.run_id)}
    assert {"report.html", "evaluation.json", "plots", "config.yaml"} <= artifacts

    registry.download(version, tmp_path / "model")
    columns = {
        "temperature": np.array([30.0, 120.0]),
        "vibration": np.array([0.5, 12.0]),
        "starts": np.array([2, 30]),
        "indoors": np.array([True, False]),
        "site": np.array(["north", "a new site"], dtype=object),
    }
    session = onnxruntime.InferenceSession(tmp_path / "model/model.onnx")
    (answer,) = session.run(["state"], columns)
    assert answer.shape == (2, 3)
    assert answer.sum(axis=1) == pytest.approx([1, 1])
    assert (answer[0].argmax(), answer[1].argmax()) == (0, 2)  # well, broken
    mlflow.onnx.load_model(str(tmp_path / "model"))

    rows = [{name: column[i].item() if hasattr(column[i], "item") else column[i]
             for name, column in columns.items()} for i in range(2)]  # fmt: skip
    with served(machines, "models:/machine-state@champion", tmp_path / "cache") as url:
        response = httpx.post(f"{url}/predict", json=rows)
        assert response.status_code == httpx.codes.OK, response.text
        assert response.json()["prediction"] == pytest.approx(answer.astype(float), abs=1e-6)


def test_data_of_ones_own_goes_into_the_store_if_it_is_what_the_pointer_names(
    machines: Machines, store: Store, tmp_path: Path
):
    workspace = tmp_path / "workspace"
    (workspace / ".dvc").mkdir(parents=True)
    (workspace / "data").mkdir()
    shutil.copy(ROOT / ".dvc/config", workspace / ".dvc/config")
    own = tmp_path / "incoming/measurements.parquet"
    own.parent.mkdir()
    own.write_bytes(b"my own rows")
    shutil.copy(own, workspace / "data/measurements.parquet")
    write_pointer(workspace / "data/measurements.parquet")
    (workspace / "data/measurements.parquet").unlink()
    job = Machines(workspace / "data", machines.mlflow_url)
    environment = {**job.environment, **store.environment, "DVC_NO_ANALYTICS": "1"}
    command = ["modelyard", "dataset"]
    command += ["--config", str(PROJECTS / "machine-state.yaml"), "--from", str(own.parent)]

    def push() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    done = push()
    assert done.returncode == 0, done.stderr
    assert "in the store" in done.stdout
    shutil.rmtree(workspace / ".dvc/cache", ignore_errors=True)
    (workspace / "data/measurements.parquet").unlink()
    pulled = subprocess.run(
        [sys.executable, "-m", "dvc", "pull"], cwd=workspace, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert pulled.returncode == 0, pulled.stderr
    assert (workspace / "data/measurements.parquet").read_bytes() == b"my own rows"

    own.write_bytes(b"other rows")
    refused = push()
    assert refused.returncode == 4
    assert "is not the dataset that measurements.parquet.dvc names" in refused.stderr
