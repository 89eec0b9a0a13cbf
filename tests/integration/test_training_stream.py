"""Rows streamed from the stack's own S3 store."""

from __future__ import annotations

import io
from pathlib import Path

import boto3
import numpy as np
import polars as pl
import pytest
import torch

from integration.servers import Store
from modelyard.errors import DataError
from modelyard.training.rows import Tensors
from modelyard.training.stream import ParquetStream

DATA = pl.DataFrame({"x": np.linspace(0, 1, 5_000)})


@pytest.fixture
def in_store(store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """The rows as two files in the store; AWS variables are set as in the training container."""
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=store.url)
    for number, part in enumerate(DATA.iter_slices(2_500)):
        body = io.BytesIO()
        part.write_parquet(body, row_group_size=500)
        client.put_object(Bucket="dvc", Key=f"rows/part-{number}.parquet", Body=body.getvalue())
    return "s3://dvc/rows"


def tensors(frame: pl.DataFrame) -> Tensors:
    x = torch.tensor(frame["x"].to_numpy())
    return Tensors({"x": x}, x)


def test_rows_in_the_store_are_streamed_as_those_on_disk_are(in_store: str, tmp_path: Path):
    DATA.write_parquet(tmp_path / "rows.parquet")
    for uri in (in_store, f"{in_store}/", str(tmp_path / "rows.parquet")):
        stream = ParquetStream(uri, tensors, chunk_rows=1_000)
        assert len(stream) == len(DATA)
        assert pl.concat(stream.frames()).equals(DATA)


def test_what_is_not_in_the_store_is_a_data_error(in_store: str):
    for uri in ("s3://dvc/nowhere", "s3://no-such-bucket/rows"):
        with pytest.raises(DataError, match="cannot be read"):
            len(ParquetStream(uri, tensors))
