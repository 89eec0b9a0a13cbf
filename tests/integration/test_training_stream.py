"""`modelyard train` on data that it never holds: from a local file, and from the stack's store."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import mlflow
import polars as pl
import pytest

from fraud_detector import dataset
from modelyard.provenance import md5_of
from modelyard.registry import RegistryClient
from modelyard.training.data.objects import OBJECTS_FILE, find_objects
from support.checkout import QUICK, copy_tree
from support.servers import ROOT, Store
from support.streamed_training import STREAM, Bucket, Training, interrupted_at, served
from support.warm.commands import cold

pytestmark = pytest.mark.timeout(900)  # trainings, several a test

ROWS = 12_000
PROJECTS = ROOT / "tests/projects"


@pytest.fixture(scope="module")
def transactions(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    path = tmp_path_factory.mktemp("data") / "transactions.parquet"
    dataset.generate(path, rows=ROWS)
    return dataset.load(path)


@pytest.fixture
def train(mlflow_url: str, store: Store, tmp_path: Path) -> Training:
    return Training(tmp_path, {"MLFLOW_TRACKING_URI": mlflow_url, **store.environment})


@pytest.fixture
def bucket(store: Store, transactions: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The transactions as three objects; AWS variables are set as in the training container."""
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket(store, f"transactions-{uuid4().hex[:8]}")
    for number, part in enumerate(transactions.iter_slices(ROWS // 3)):
        bucket.put(number, part)
    return bucket


def graph(registry: RegistryClient, model: str, folder: Path) -> bytes:
    registry.download(registry.version(model, "1"), folder / model)
    return (folder / model / "model.onnx").read_bytes()


def test_a_streamed_file_gives_a_version_that_serves_and_the_same_bytes_again(
    train: Training, transactions: pl.DataFrame, registry: RegistryClient, tmp_path: Path
):
    train.use(transactions)
    for name in ("streamed", "streamed-again"):
        done = train("--set", f"registered_model={name}", "--promote", "auto")
        assert done.returncode == 0, done.stderr
    assert f"check     {ROWS:,} rows, in chunks of 2,000" in done.stdout
    assert "1,500 of " in done.stdout and "2,000 of " in done.stdout
    assert "gate      passed" in done.stdout

    version = registry.version("streamed", "1")
    run = registry.run(version.run_id)
    assert version.tags["data.md5"] == md5_of(train.folder / "transactions.parquet")
    assert run.params["stream.buffer_rows"] == "3000"
    assert int(run.tags["data.rows.train"]) > int(run.tags["data.sampled.train"]) == 2_000
    assert 0.7 < run.metrics["test_roc_auc"] < 1
    assert graph(registry, "streamed", tmp_path) == graph(registry, "streamed-again", tmp_path)
    with served(train, "streamed") as url:
        row = {"amount": 500, "merchant_category": "electronics", "hour": 23}
        answer = httpx.post(f"{url}/predict", json=row)
        assert 0 < answer.json()["prediction"][0] < 1
        assert answer.headers["x-model-version"] == "1"


def test_another_project_with_classes_and_a_split_by_time_is_streamed(
    train: Training, registry: RegistryClient
):
    train.settings["PYTHONPATH"] = str(PROJECTS)
    write = "import sys, pathlib; from machine_state import dataset; "
    write += "dataset.generate(pathlib.Path(sys.argv[1]))"
    raw = train.folder / "raw.parquet"
    subprocess.run([sys.executable, "-c", write, raw], env=train.environment, check=True)
    train.use(pl.read_parquet(raw), "measurements.parquet")
    config = ("--config", str(PROJECTS / "machine-state.yaml"))
    done = train(*config, "--set", "registered_model=streamed-machines")
    assert done.returncode == 0, done.stderr
    run = registry.run(registry.version("streamed-machines", "1").run_id)
    assert run.metrics["test_accuracy"] > 0.7


def test_objects_in_the_store_give_the_model_of_the_same_rows_on_disk(
    train: Training,
    transactions: pl.DataFrame,
    bucket: Bucket,
    registry: RegistryClient,
    tmp_path: Path,
):
    train.use(transactions)
    done = train("--set", "registered_model=from-disk")
    assert done.returncode == 0, done.stderr
    done = train("--set", "registered_model=from-store", "--set", f"data={bucket.uri}")
    assert done.returncode == 0, done.stderr
    assert graph(registry, "from-store", tmp_path) == graph(registry, "from-disk", tmp_path)

    version = registry.version("from-store", "1")
    run = registry.run(version.run_id)
    listed = find_objects(bucket.uri)
    assert version.tags["data.md5"] == run.tags["data.md5"] == listed.md5
    assert run.tags["data.path"] == bucket.uri
    assert run.tags["data.objects"] == "3"
    recorded = json.loads(registry.run_text(run, OBJECTS_FILE))
    assert [entry["key"] for entry in recorded] == [
        f"{bucket.prefix}/part-{number}.parquet" for number in range(3)
    ]
    bucket.put(1, transactions[: ROWS // 3].reverse())
    assert find_objects(bucket.uri).changed_since(listed) == [f"{bucket.prefix}/part-1.parquet"]
    assert find_objects(bucket.uri).md5 != listed.md5


def test_a_bad_chunk_stops_the_run_before_it_begins_with_the_table(
    train: Training, transactions: pl.DataFrame, bucket: Bucket, registry: RegistryClient
):
    late = pl.col("transaction_id") > ROWS - 4
    bad = transactions.tail(ROWS // 3).with_columns(
        amount=pl.when(late).then(-1.0).otherwise("amount"),
        merchant_category=pl.when(late).then(pl.lit("crypto")).otherwise("merchant_category"),
    )
    bucket.put(2, pl.concat([bad, bad.head(1)]))
    name = ("--set", "registered_model=badly-streamed", "--set", "experiment=no-such-run")
    done = train("--set", f"data={bucket.uri}", *name)
    assert done.returncode == 4, done.stdout + done.stderr
    lines = [" ".join(line.split()) for line in done.stderr.splitlines()]
    for said in (
        f"column problem rows of {ROWS + 1:,}",
        "amount below 0 4",
        "merchant_category not a known category 4",
        "transaction_id rows share what must name one row 2",
    ):
        assert said in lines
    assert "crypto" not in done.stderr
    assert "epoch" not in done.stdout
    client = mlflow.MlflowClient(train.settings["MLFLOW_TRACKING_URI"])
    assert client.get_experiment_by_name("no-such-run") is None
    assert list(registry.versions("badly-streamed")) == []


@pytest.mark.parametrize(
    ("uri", "settings", "said"),
    [
        ("s3://dvc/nowhere", {}, "There is no object whose name ends with .parquet"),
        ("s3://no-such-bucket/rows", {}, "cannot be listed"),
        ("s3://dvc/rows", {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "cannot be listed"),
    ],
)
def test_what_is_not_in_the_store_is_said(
    train: Training, uri: str, settings: dict[str, str], said: str
):
    train.settings |= settings
    done = train("--set", f"data={uri}")
    assert done.returncode == 4
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_data_that_change_while_they_are_read_are_not_registered(
    train: Training, transactions: pl.DataFrame, bucket: Bucket, registry: RegistryClient
):
    arguments = ("--set", f"data={bucket.uri}", "--set", "registered_model=moving")
    code, errors = interrupted_at(
        train, 1, lambda _: bucket.put(1, transactions[: ROWS // 3].reverse()), *arguments
    )
    assert code == 4, errors
    assert f"The data changed while the model was fitted: {bucket.prefix}/part-1" in errors
    assert list(registry.versions("moving")) == []


def test_a_killed_streamed_training_resumes_and_gives_the_model_of_an_uninterrupted_one(
    train: Training, transactions: pl.DataFrame, registry: RegistryClient, tmp_path: Path
):
    train.use(transactions)
    more = ("--set", "fit.epochs=8", "--set", "fit.patience=8")
    code, _ = interrupted_at(
        train, 3, lambda process: process.send_signal(signal.SIGKILL),
        *more, "--set", "registered_model=killed-stream",
    )  # fmt: skip
    assert code == -signal.SIGKILL
    done = train(*more, "--set", "registered_model=killed-stream", "--resume")
    assert done.returncode == 0, done.stderr
    assert "resume    run " in done.stdout
    done = train(*more, "--set", "registered_model=whole-stream")
    assert done.returncode == 0, done.stderr
    assert graph(registry, "killed-stream", tmp_path) == graph(registry, "whole-stream", tmp_path)


def test_only_the_first_rows_can_be_streamed_to_try_out(
    train: Training, transactions: pl.DataFrame
):
    train.use(transactions)
    done = train("--set", "sample_rows=5000", "--set", "fit.epochs=1")
    assert done.returncode == 0, done.stderr
    assert "check     5,000 rows" in done.stdout


def test_a_version_of_stored_data_is_reproduced_and_changed_data_are_said(
    mlflow_url: str, bucket: Bucket, transactions: pl.DataFrame, tmp_path: Path
):
    settings = {"MLFLOW_TRACKING_URI": mlflow_url, "MODEL_NAME": "stored"}
    checkout = copy_tree(tmp_path / "checkout", {**settings, **bucket.store.environment})
    checkout.init()
    checkout.commit()
    arguments = ("--set", f"data={bucket.uri}", "--set", STREAM, "--processes", "2")
    done = checkout.modelyard("train", *QUICK, "--set", "registered_model=stored", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr

    done = checkout.modelyard("reproduce", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "identical model.onnx" in done.stdout
    assert "by 2 processes, as it was" in done.stdout
    bucket.put(0, transactions[: ROWS // 3].reverse())
    done = checkout.modelyard("reproduce", "1")
    assert done.returncode == 9
    assert "are not what it was trained on" in done.stderr
    assert OBJECTS_FILE in done.stderr


def peak_bytes(train: Training, rows: int) -> int:
    """Most resident memory of a training on `rows` rows of the folder's file."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)\n"
    )
    arguments = ("--set", f"sample_rows={rows}", "--set", "fit.epochs=1")
    command = cold(train.command(*arguments, "--set", "fit.batch_rows=4096"))
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        cwd=ROOT, env=train.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_ten_times_the_rows_take_no_more_memory(train: Training):
    """What the rows themselves would take in memory: 50 bytes each in Arrow, more on the way."""
    path = train.folder / "raw.parquet"
    dataset.generate(path, rows=2_000_000)
    data = dataset.load(path)
    train.use(data)
    few, many = peak_bytes(train, 200_000), peak_bytes(train, 2_000_000)
    assert many - few < 1_800_000 * 50, f"{few / 1e6:.0f} MB, then {many / 1e6:.0f} MB"
