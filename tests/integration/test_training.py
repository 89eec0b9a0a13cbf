"""The training job against real MLflow, Postgres, S3 and DVC, by the container's own entrypoint."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import httpx
import mlflow.onnx
import onnxruntime
import pytest

from modelyard.provenance import read_pointer
from modelyard.registry import RegistryClient, read_manifest, verify_files
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.registry.moves import moves_of
from support.network import free_port
from support.servers import ROOT, Store

SMOKE = ("--config", "configs/train-smoke.yaml")


@dataclass
class TrainingJob:
    """Runs entrypoint.sh as the training container does, with its own workspace and DVC cache."""

    folder: Path
    mlflow_url: str
    store: Store
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.store.environment,
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "WORKSPACE": str(self.folder / "workspace"),
            "DVC_CACHE_DIR": str(self.folder / "cache"),
            "DVC_REMOTE_URL": "s3://dvc",
            "TRAINING_STATE_DIR": str(self.folder / "state"),
            "GIT_COMMIT": "0123456789abcdef0123456789abcdef01234567",
            **self.settings,
        }

    def command(self, *arguments: str) -> list[str]:
        return [str(ROOT / "entrypoint.sh"), *SMOKE, *arguments]

    def __call__(self, *arguments: str, job: str = "train") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env={**self.environment, "ENTRYPOINT_JOB": job},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


@pytest.fixture(scope="module")
def dataset_in_store(
    mlflow_url: str, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    done = TrainingJob(tmp_path_factory.mktemp("dataset"), mlflow_url, store)(job="dataset")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def train(mlflow_url: str, store: Store, dataset_in_store: None, tmp_path: Path) -> TrainingJob:
    return TrainingJob(tmp_path, mlflow_url, store)


def test_a_run_is_traceable_from_its_version_and_its_model_is_whole(
    train: TrainingJob, registry: RegistryClient, tmp_path: Path
):
    done = train("--set", "registered_model=traced")
    assert done.returncode == 0, done.stderr
    version = registry.aliased("traced", "champion")
    run = registry.run(version.run_id)
    pointer = read_pointer(ROOT / "data", "transactions.parquet")
    assert version.tags["git.commit"] == run.tags["git.commit"] == train.environment["GIT_COMMIT"]
    assert version.tags["data.md5"] == run.tags["data.md5"] == pointer.md5
    assert run.status == "FINISHED"
    assert run.params["fit.epochs"] == "3"
    assert 0.75 < run.metrics["test_roc_auc"] < run.metrics["best_roc_auc"] < 1

    registry.download(version, tmp_path / "model")
    manifest = read_manifest(tmp_path / "model", version.tags[DIGEST_TAG])
    assert manifest is not None
    verify_files(tmp_path / "model", manifest)
    assert {"model.onnx", "contract.yaml", "MLmodel"} <= set(manifest)
    onnxruntime.InferenceSession(tmp_path / "model/model.onnx")
    mlflow.onnx.load_model(str(tmp_path / "model"))  # MLflow itself can load it, too

    (move,) = moves_of(registry.registered_model("traced"), "champion")
    assert (move.moved_from, move.moved_to) == ("", "1")


def test_metrics_of_each_epoch_are_in_mlflow(train: TrainingJob, registry: RegistryClient):
    done = train("--set", "registered_model=stepped", "--set", "promote=never")
    assert done.returncode == 0, done.stderr
    version = registry.version("stepped", "1")
    steps = mlflow.MlflowClient(train.mlflow_url).get_metric_history(
        version.run_id, "validation_loss"
    )
    assert [metric.step for metric in steps] == [1, 2, 3]
    assert registry.aliases("stepped") == {}  # promote: never


def test_two_trainings_at_once_give_two_versions_and_one_champion(
    train: TrainingJob, registry: RegistryClient, tmp_path: Path
):
    other = TrainingJob(tmp_path / "other", train.mlflow_url, train.store)
    arguments = ("--set", "registered_model=twins")
    running = [
        subprocess.Popen(job.command(*arguments), cwd=ROOT, env=job.environment)
        for job in (train, other)
    ]
    assert [process.wait(240) for process in running] == [0, 0]
    versions = list(registry.versions("twins"))
    assert sorted(version.version for version in versions) == ["1", "2"]
    assert len({version.run_id for version in versions}) == 2
    assert registry.aliases("twins")["champion"] in {"1", "2"}
    assert len(moves_of(registry.registered_model("twins"), "champion")) == 2


def test_a_stopped_training_is_killed_in_mlflow_and_registers_nothing(
    train: TrainingJob, registry: RegistryClient
):
    arguments = ("--set", "registered_model=stopped", "--set", "experiment=stopped")
    process = subprocess.Popen(
        train.command(*arguments, "--set", "fit.epochs=100000", "--set", "fit.patience=100000"),
        cwd=ROOT,
        env=train.environment,
    )
    client = mlflow.MlflowClient(train.mlflow_url)
    try:
        deadline = time.monotonic() + 120
        while not (runs := _runs(client, "stopped")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 128 + signal.SIGTERM
    finally:
        process.kill()
    assert client.get_run(runs[0].info.run_id).info.status == "KILLED"
    assert list(registry.versions("stopped")) == []


def _runs(client: mlflow.MlflowClient, experiment: str) -> list:
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else client.search_runs([found.experiment_id])


def test_mlflow_that_is_not_there_is_said_in_a_sentence(train: TrainingJob):
    train.settings["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{free_port()}"
    done = train()
    assert done.returncode == 6
    assert "does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_is_not_there_is_said_in_a_sentence(train: TrainingJob):
    train.settings["AWS_ENDPOINT_URL_S3"] = f"http://127.0.0.1:{free_port()}"
    done = train()
    assert done.returncode == 4
    assert "expected" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_in_the_configuration_is_said_before_anything_is_done(train: TrainingJob):
    done = train("--set", "fit.epoch=3", "--set", "experiment=mistaken")
    assert done.returncode == 2
    assert 'Did you mean "epochs"?' in done.stderr
    assert mlflow.MlflowClient(train.mlflow_url).get_experiment_by_name("mistaken") is None


def test_tampered_data_in_the_store_is_refused(train: TrainingJob, registry: RegistryClient):
    s3, key, good = _stored_object(train.store)
    try:
        s3.put_object(Bucket="dvc", Key=key, Body=good[:-1] + b"\0")
        done = train("--set", "registered_model=tampered")
        assert done.returncode == 4
        assert "unchanged" in done.stderr
    finally:
        s3.put_object(Bucket="dvc", Key=key, Body=good)
    assert list(registry.versions("tampered")) == []


def test_data_changed_on_this_machine_is_refused(train: TrainingJob, tmp_path: Path):
    workspace = tmp_path / "workspace/data"
    assert train(job="dataset").returncode == 0
    path = workspace / "transactions.parquet"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content + b"\0")
    done = subprocess.run(
        ["modelyard", "train", *SMOKE],
        cwd=ROOT,
        env={**train.environment, "MODELYARD_DATA_DIR": str(workspace)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "is not the versioned dataset" in done.stderr


def test_a_second_pull_needs_no_store(train: TrainingJob, tmp_path: Path):
    """The DVC cache is shared by runs; each run has a workspace of its own."""
    assert train("--set", "promote=never").returncode == 0
    shutil.rmtree(tmp_path / "workspace")
    assert (tmp_path / "cache").is_dir()
    assert train("--set", "promote=never").returncode == 0


def test_the_dataset_job_is_safe_to_repeat(train: TrainingJob):
    assert train(job="dataset").returncode == 0
    done = train(job="dataset")
    assert done.returncode == 0
    assert "in the store" in done.stdout


def test_the_store_refuses_strangers(store: Store):
    assert httpx.get(f"{store.url}/dvc").status_code == httpx.codes.FORBIDDEN


def _stored_object(store: Store) -> tuple:
    keys = {}
    for line in Path(store.environment["AWS_SHARED_CREDENTIALS_FILE"]).read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals:
            keys[name.strip()] = value.strip()
    s3 = boto3.client("s3", endpoint_url=store.url, region_name="us-east-1", **keys)
    md5 = read_pointer(ROOT / "data", "transactions.parquet").md5
    key = f"files/md5/{md5[:2]}/{md5[2:]}"
    return s3, key, s3.get_object(Bucket="dvc", Key=key)["Body"].read()
