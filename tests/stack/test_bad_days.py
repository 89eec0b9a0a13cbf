"""What breaks, breaks with a sentence, soon, and without damage."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from support.stack_driver import SMOKE, Stack, wait_for

BOUND_S = 200  # MLflow's own client would say nothing for four minutes
EMPTY_CACHE = ("--no-deps", "-e", "DVC_CACHE_DIR=/tmp/empty-cache")
CHANGE_OBJECTS = """
import boto3
store = boto3.client("s3")
for item in store.list_objects_v2(Bucket="dvc").get("Contents", []):
    {change}
"""
TAMPER = CHANGE_OBJECTS.format(
    change='store.put_object(Bucket="dvc", Key=item["Key"], Body=b"x" * item["Size"])'
)
DELETE = CHANGE_OBJECTS.format(change='store.delete_object(Bucket="dvc", Key=item["Key"])')


def refused(stack: Stack, *options: str) -> str:
    """What a training run says that has to fail, and has to do so in time."""
    start = time.monotonic()
    done = stack.train(*SMOKE, options=options or ("--no-deps",), check=False)
    assert time.monotonic() - start < BOUND_S
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback" not in said
    return said


def in_store(stack: Stack, code: str) -> subprocess.CompletedProcess[str]:
    return stack.compose("run", "--rm", "--no-deps", "-T", "buckets", "python", "-c", code)


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_training_without_a_store_stops_with_a_sentence(trained: Stack, how: str) -> None:
    with trained.stopped("storage", how=how):
        said = refused(trained)
    assert "expected  an S3 store that answers at http://storage:8333" in said
    assert "docker compose up -d --wait storage" in said


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_training_without_mlflow_stops_with_a_sentence(trained: Stack, how: str) -> None:
    with trained.stopped("mlflow", how=how):
        said = refused(trained)
    assert "The MLflow server at http://mlflow:5000 does not answer" in said
    assert "docker compose up -d --wait mlflow" in said


class TestDamagedData:
    """The store's objects are changed behind DVC's back."""

    @pytest.fixture(autouse=True)
    def mend(self, trained: Stack) -> Iterator[None]:
        yield
        in_store(trained, DELETE)
        trained.compose("--profile", "train", "run", "--rm", "dataset")

    def test_tampered_data_is_refused(self, trained: Stack) -> None:
        version = trained.version()
        in_store(trained, TAMPER)
        said = refused(trained, *EMPTY_CACHE)
        assert "its bytes do not have the md5 that its pointer names" in said
        assert trained.version() == version

    def test_missing_data_is_refused(self, trained: Stack) -> None:
        in_store(trained, DELETE)
        assert "it is not in the store" in refused(trained, *EMPTY_CACHE)

    def test_a_missing_bucket_is_refused(self, trained: Stack) -> None:
        said = refused(trained, *EMPTY_CACHE, "-e", "DVC_REMOTE_URL=s3://no-such-bucket")
        assert "in the store s3://no-such-bucket" in said


def test_mlflow_is_unhealthy_while_its_database_is_away(trained: Stack) -> None:
    """Its own /health would say OK; and what is served does not notice."""
    probe = ("exec", "-T", "mlflow", "python", "/app/probe.py")
    trained.compose(*probe)
    with trained.stopped("db", how="pause"):
        assert trained.compose(*probe, check=False).returncode != 0
        assert trained.predict().status_code == 200
    wait_for("the probe", lambda: trained.compose(*probe, check=False).returncode == 0)
