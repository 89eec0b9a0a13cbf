"""`modelyard train` on data that it never holds, objects in the store, and a server for it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import polars as pl

from modelyard.provenance import md5_of
from support.network import free_port
from support.servers import ROOT, Store, answers

STREAM = "stream={chunk_rows: 2000, buffer_rows: 3000, baseline_rows: 2000, held_out_rows: 1500}"


@dataclass
class Training:
    """`modelyard train` on a data folder of its own, streamed."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def use(self, data: pl.DataFrame, name: str = "transactions.parquet") -> None:
        """Version `data` as DVC would."""
        path = self.folder / name
        data.write_parquet(path, row_group_size=1_000)
        pointer = f"outs:\n- md5: {md5_of(path)}\n  size: {path.stat().st_size}\n"
        Path(f"{path}.dvc").write_text(f"{pointer}  hash: md5\n  path: {name}\n")

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "MODELYARD_DATA_DIR": str(self.folder),
            "TRAINING_STATE_DIR": str(self.folder / "state"),
            "PYTHONUNBUFFERED": "1",
            **self.settings,
        }

    def command(self, *arguments: str) -> list[str]:
        train = ["modelyard", "train", "--promote", "never"]
        return [*train, "--config", "configs/train-smoke.yaml", "--set", STREAM, *arguments]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command("--set", "sample_rows=null", *arguments), cwd=ROOT, env=self.environment,
            capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip


@dataclass
class Bucket:
    """A folder of the store, as a user fills it."""

    store: Store
    prefix: str

    @property
    def uri(self) -> str:
        return f"s3://dvc/{self.prefix}"

    def put(self, number: int, part: pl.DataFrame) -> None:
        body = io.BytesIO()
        part.write_parquet(body, row_group_size=1_000)
        key = f"{self.prefix}/part-{number}.parquet"
        boto3.client("s3", endpoint_url=self.store.url).put_object(
            Bucket="dvc", Key=key, Body=body.getvalue()
        )


@contextmanager
def served(train: Training, model: str) -> Iterator[str]:
    """The prediction API for version 1 of `model`."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    settings = {
        "MODEL_URI": f"models:/{model}/1",
        "SERVING_HOST": "127.0.0.1",
        "SERVING_PORT": str(port),
        "SERVING_CACHE_DIR": str(train.folder / "cache"),
        "SERVING_PREDICTION_LOG_DIR": str(train.folder / "predictions"),
    }
    command = [sys.executable, "-m", "modelyard.serving"]
    process = subprocess.Popen(command, cwd=ROOT, env={**train.environment, **settings})
    try:
        deadline = time.monotonic() + 60
        while not answers(f"{url}/health"):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def interrupted_at(
    train: Training, epoch: int, then: Callable[[subprocess.Popen], None], *arguments: str
) -> tuple[int, str]:
    """Train, and do `then` once `epoch` is told; returns exit status and the errors."""
    process = subprocess.Popen(
        train.command("--set", "sample_rows=null", *arguments), cwd=ROOT, env=train.environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stdout:
            if line.startswith(f"epoch {epoch:3d}"):
                then(process)
                break
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, errors
