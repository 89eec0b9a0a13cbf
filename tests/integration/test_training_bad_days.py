"""A failure of training is explained in a sentence, and nothing half done is registered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
import polars as pl
import pytest

from fraud_detector import dataset
from modelyard.embedded.processes import ChildProcesses
from modelyard.provenance import md5_of
from modelyard.registry import RegistryClient
from support.network import free_port
from support.servers import ROOT, answers
from support.warm.commands import cold

NAME = "bad-day"


@dataclass
class Training:
    """`modelyard train` on a dataset of its own."""

    folder: Path
    mlflow_url: str
    settings: dict[str, str] = field(default_factory=dict)

    def use(self, data: pl.DataFrame) -> None:
        """Train on `data` and not on the demo dataset."""
        path = self.folder / "transactions.parquet"
        data.write_parquet(path)
        pointer = f"outs:\n- md5: {md5_of(path)}\n  size: {path.stat().st_size}\n"
        pointer += "  hash: md5\n  path: transactions.parquet\n"
        (self.folder / "transactions.parquet.dvc").write_text(pointer)

    def command(self, *arguments: str) -> list[str]:
        train = ["modelyard", "train"]
        train += ["--config", "configs/train-smoke.yaml", "--set", f"registered_model={NAME}"]
        return [*train, "--set", "promote=never", "--set", "experiment=bad-days", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "MODELYARD_DATA_DIR": str(self.folder),
            "TRAINING_STATE_DIR": str(self.folder / "state"),
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=ROOT, env=self.environment,
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip


@pytest.fixture(scope="module")
def transactions(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    path = tmp_path_factory.mktemp("data") / "transactions.parquet"
    dataset.generate(path, rows=6_000)
    return dataset.load(path)


@pytest.fixture
def train(mlflow_url: str, tmp_path: Path) -> Training:
    return Training(tmp_path, mlflow_url)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(lambda d: d.clear(), ["has no rows"], id="empty"),
        pytest.param(
            lambda d: d.with_columns(is_fraud=pl.lit(0)),
            ["is_fraud", "one and the same value"],
            id="one class",
        ),
        pytest.param(
            lambda d: d.rename({"hour": "hours"}),
            ["hour", 'the column is missing. Did you mean "hours"?'],
            id="renamed column",
        ),
        pytest.param(
            lambda d: d.with_columns(
                merchant_category=pl.when(pl.col("transaction_id") <= 5)
                .then(pl.lit("crypto"))
                .otherwise("merchant_category")
            ),
            ["merchant_category", "not a known category", "    5"],
            id="category never seen",
        ),
        pytest.param(
            lambda d: pl.concat([d, d.head(3)]),
            ["transaction_id", "rows share what must name one row", "    6"],
            id="duplicates",
        ),
        pytest.param(
            lambda d: d.with_columns(amount=-pl.col("amount")),
            ["amount", "below 0", "6,000"],
            id="out of range",
        ),
    ],
)
def test_a_bad_dataset_stops_the_run_before_it_begins(
    train: Training,
    transactions: pl.DataFrame,
    registry: RegistryClient,
    damage: Callable[[pl.DataFrame], pl.DataFrame],
    said: list[str],
):
    train.use(damage(transactions))
    done = train("--set", "experiment=no-run-at-all")
    assert done.returncode == 4, done.stdout + done.stderr
    for part in said:
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert "crypto" not in done.stderr  # no value of the data is shown
    client = mlflow.MlflowClient(train.mlflow_url)
    assert client.get_experiment_by_name("no-run-at-all") is None
    assert list(registry.versions(NAME)) == []


def test_a_loss_that_is_no_number_stops_the_run_and_registers_nothing(
    train: Training, transactions: pl.DataFrame, registry: RegistryClient
):
    train.use(transactions)
    done = train("--set", "fit.learning_rate=1.0e+30", "--set", "experiment=diverged")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "is not a finite number" in done.stderr
    assert "Lower fit.learning_rate" in done.stderr
    client = mlflow.MlflowClient(train.mlflow_url)
    experiment = client.get_experiment_by_name("diverged")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FAILED"
    assert "not a finite number" in run.data.tags["modelyard.error"]
    assert list(registry.versions(NAME)) == []
    assert list((train.folder / "state/checkpoints").glob("*/*")) == []


def small_disk(folder: Path, kibibytes: int) -> list[str]:
    """A command prefix under which `folder` is a disk of its own; skips where that needs root."""
    mount = f'mount -t tmpfs -o size={kibibytes}k tmpfs {folder} && exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    tried = shutil.which("unshare") and subprocess.run(
        [*prefix, "true"], capture_output=True, check=False
    )
    if not tried or tried.returncode:
        pytest.skip("no user namespaces here")
    return prefix


@pytest.mark.parametrize(
    ("kibibytes", "arguments"),
    [
        pytest.param(100, (), id="no room for the report"),
        pytest.param(280, ("--set", "fit.hidden=[400, 400]"), id="no room for the package"),
    ],
)
def test_a_full_disk_registers_nothing_and_the_run_can_be_resumed(
    train: Training,
    transactions: pl.DataFrame,
    registry: RegistryClient,
    tmp_path: Path,
    kibibytes: int,
    arguments: tuple[str, ...],
):
    train.use(transactions)
    disk = tmp_path / "disk"
    disk.mkdir()
    train.settings["TMPDIR"] = str(disk)
    done = subprocess.run(
        [*small_disk(disk, kibibytes), *cold(train.command(*arguments))],
        cwd=ROOT, env=train.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5, done.stdout + done.stderr
    assert "There is no room on the disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(registry.versions(NAME)) == []

    del train.settings["TMPDIR"]
    name = f"{NAME}-{kibibytes}"
    again = train("--resume", *arguments, "--set", f"registered_model={name}")
    assert again.returncode == 0, again.stderr
    assert "after epoch 3" in again.stdout
    assert [version.version for version in registry.versions(name)] == ["1"]


@dataclass
class Server:
    """An MLflow server that can be killed and started again on the same data."""

    folder: Path
    port: int
    running: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", "--workers=1"]
        command += [f"--port={self.port}", f"--backend-store-uri=sqlite:///{self.folder}/m.db"]
        command += ["--serve-artifacts", f"--artifacts-destination={self.folder}/artifacts"]
        environment = {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        probe = f"{self.url}/api/2.0/mlflow/experiments/search?max_results=1"
        processes = self.running.enter_context(ChildProcesses(self.folder / "logs"))
        processes.start("restarted", command, environment, lambda: answers(probe), 120)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, free_port())
    with server.running:
        server.start()
        yield server


def test_mlflow_that_restarts_in_mid_run_loses_nothing(
    server: Server, transactions: pl.DataFrame, tmp_path: Path
):
    train = Training(tmp_path, server.url)
    train.use(transactions)
    slow = ("--set", "fit.batch_rows=4", "--set", "fit.epochs=8", "--set", "fit.patience=8")
    process = subprocess.Popen(
        train.command(*slow), cwd=ROOT, env=train.environment, stdout=subprocess.PIPE, text=True
    )
    timer = threading.Timer(200, process.kill)
    timer.start()
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("epoch   2"):
            server.running.close()
            assert not answers(server.url)
        if line.startswith("epoch   4"):
            server.start()
    timer.cancel()
    assert process.wait(10) == 0, said
    client = mlflow.MlflowClient(server.url)
    version = client.get_model_version(NAME, "1")
    history = client.get_metric_history(version.run_id, "train_loss")
    assert [metric.step for metric in history] == list(range(1, 9))


def test_mlflow_that_stays_away_is_given_up_in_time_and_the_run_can_be_resumed(
    server: Server, transactions: pl.DataFrame, tmp_path: Path
):
    train = Training(tmp_path, server.url, {"TRACKING_PATIENCE_S": "10"})
    train.use(transactions)
    process = subprocess.Popen(
        train.command("--set", "fit.batch_rows=16"), cwd=ROOT, env=train.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("epoch   1"):
            server.running.close()
            break
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 6, errors
    assert "waiting for up to 10 s" in said
    assert "modelyard train --resume" in errors
    server.start()
    done = train("--set", "fit.batch_rows=16", "--resume")
    assert done.returncode == 0, done.stderr
    assert "after epoch 3" in done.stdout
    client = mlflow.MlflowClient(server.url)
    assert client.get_model_version(NAME, "1").status == "READY"
