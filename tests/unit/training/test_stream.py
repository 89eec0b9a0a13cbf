"""Parquet read in chunks gives each row once, in bounded pieces, and fits as rows in memory do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from modelyard.errors import DataError
from modelyard.training.fit import LoopConfig, fit_network
from modelyard.training.project import FitContext
from modelyard.training.rows import Tensors
from modelyard.training.split import TRAIN, by_hash, part_of
from modelyard.training.stream import ParquetStream

ROWS = 10_000
DATA = (
    pl.DataFrame({"id": np.arange(ROWS), "x": np.linspace(-1, 1, ROWS), "word": ["w"] * ROWS})
    .with_columns(y=2 * pl.col("x"))
    .sample(fraction=1, shuffle=True, seed=1)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    for number, part in enumerate(DATA.iter_slices(4_000)):
        part.write_parquet(folder / f"part-{number}.parquet", row_group_size=700)
    return folder


def tensors(frame: pl.DataFrame) -> Tensors:
    x = torch.tensor(frame["x"].to_numpy(), dtype=torch.float32)
    return Tensors({"x": x}, torch.tensor(frame["y"].to_numpy(), dtype=torch.float32))


@pytest.mark.parametrize("chunk_rows", [500, 1_000, 100_000])
def test_every_row_comes_once_in_chunks_of_the_size_that_was_asked_for(
    folder: Path, chunk_rows: int
):
    stream = ParquetStream(str(folder), tensors, columns=("x", "y"), chunk_rows=chunk_rows)
    for _ in range(2):  # each pass is a whole one
        frames = list(stream.frames())
        assert pl.concat(frames).equals(DATA.select("x", "y"))
        assert max(map(len, frames)) <= chunk_rows
    assert len(stream) == ROWS == sum(map(len, stream.chunks()))


def test_one_file_can_be_streamed_too(folder: Path):
    assert len(ParquetStream(str(folder / "part-0.parquet"), tensors)) == 4_000


def test_a_part_of_the_split_can_be_streamed(folder: Path):
    stream = ParquetStream(
        str(folder), tensors, keep=lambda frame: pl.Series(part_of(frame, "id") == TRAIN)
    )
    train = by_hash(DATA, "id").train
    assert len(stream) == len(train)
    assert pl.concat(stream.frames()).equals(train)


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def test_a_stream_of_one_chunk_fits_the_very_network_that_rows_in_memory_fit(folder: Path):
    def fit(train) -> float:
        network = Line()
        config = LoopConfig(epochs=2, batch_rows=512, learning_rate=0.05)
        fit_network(network, nn.MSELoss(), train, tensors(DATA), config, FitContext(7))
        return float(network.weight.detach())

    whole = fit(tensors(DATA))
    assert fit(ParquetStream(str(folder), tensors, chunk_rows=ROWS)) == whole
    # in chunks, rows are shuffled otherwise
    assert fit(ParquetStream(str(folder), tensors, chunk_rows=1_000)) == pytest.approx(
        whole, abs=0.1
    )


def test_what_cannot_be_read_is_a_data_error(folder: Path, tmp_path: Path):
    (tmp_path / "no.parquet").write_text("no parquet")
    for stream in (
        ParquetStream(str(tmp_path / "nowhere"), tensors),
        ParquetStream(str(tmp_path / "no.parquet"), tensors),
        ParquetStream(str(folder), tensors, columns=("z",)),
    ):
        with pytest.raises(DataError, match="cannot be read"):
            list(stream.chunks())
