"""Streamed rows fit as rows in memory do, in an order that their seed decides."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from modelyard.training.data.parquet import ParquetFiles
from modelyard.training.data.split import by_hash
from modelyard.training.data.stream import Moments, RowStream
from modelyard.training.fit.loop import LoopConfig, fit_network
from modelyard.training.project import FitContext
from modelyard.training.tensors import Tensors

ROWS = 10_000
DATA = (
    pl.DataFrame({"id": np.arange(ROWS), "x": np.linspace(-1, 1, ROWS)})
    .with_columns(y=2 * pl.col("x"))
    .sample(fraction=1, shuffle=True, seed=1)
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ParquetFiles:
    folder = tmp_path_factory.mktemp("parts")
    for number, part in enumerate(DATA.iter_slices(4_000)):
        part.write_parquet(folder / f"part-{number}.parquet", row_group_size=700)
    return ParquetFiles(str(folder))


def tensors(frame: pl.DataFrame) -> Tensors:
    x = torch.tensor(frame["x"].to_numpy(), dtype=torch.float32)
    return Tensors({"x": x}, torch.tensor(frame["y"].to_numpy(), dtype=torch.float32))


def seen(stream: RowStream, epoch: int) -> list[float]:
    return torch.cat(
        [chunk.inputs["x"] for chunk in stream.tensors(tensors).chunks(epoch)]
    ).tolist()


def test_a_part_of_the_split_can_be_streamed(files: ParquetFiles):
    stream = RowStream(files, lambda frame: by_hash(frame, "id").train, chunk_rows=1_000)
    train = by_hash(DATA, "id").train
    assert len(stream) == len(train)
    assert pl.concat(stream.frames()).equals(train)


def test_each_epoch_has_its_own_order_and_the_seed_decides_which(files: ParquetFiles):
    stream = RowStream(files, buffer_rows=1_500, seed=7)
    first = seen(stream, 1)
    assert first == seen(stream, 1) == seen(RowStream(files, buffer_rows=1_500, seed=7), 1)
    assert first != seen(stream, 2)
    assert first != seen(RowStream(files, buffer_rows=1_500, seed=8), 1)
    assert sorted(first) == sorted(seen(stream, 2)) == sorted(seen(stream, 0))
    assert seen(stream, 0) == tensors(DATA).inputs["x"].tolist()


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def test_a_stream_of_one_chunk_fits_the_very_network_that_rows_in_memory_fit(files: ParquetFiles):
    def fit(train) -> float:
        network = Line()
        config = LoopConfig(epochs=2, batch_rows=512, learning_rate=0.05)
        fit_network(network, nn.MSELoss(), train, tensors(DATA), config, FitContext(7))
        return float(network.weight.detach())

    whole = fit(tensors(DATA))
    assert fit(RowStream(files, buffer_rows=ROWS).tensors(tensors)) == whole
    # in chunks, rows are shuffled otherwise
    chunked = RowStream(files, buffer_rows=1_000, seed=7).tensors(tensors)
    assert fit(chunked) == pytest.approx(whole, abs=0.1)


def chunked(values: np.ndarray, pieces: int) -> Moments:
    moments = Moments()
    for piece in np.array_split(values, pieces):
        moments.add(piece)
    return moments


@pytest.mark.parametrize("shift", [0.0, 1e9])
@pytest.mark.parametrize("pieces", [1, 7, 2_000])
def test_moments_of_chunks_are_those_of_all_numbers(shift: float, pieces: int):
    values = np.random.default_rng(1).normal(size=1_000) + shift
    moments = chunked(values, pieces)
    assert moments.count == 1_000
    assert moments.mean == pytest.approx(values.mean(), rel=1e-12)
    assert moments.deviation == pytest.approx(values.std(), rel=1e-6)


@pytest.mark.parametrize(("values", "expected"), [([], 0.0), ([5.0], 0.0), ([True, False], 0.5)])
def test_moments_of_few_numbers(values: list, expected: float):
    assert chunked(np.array(values), 1).deviation == expected


def test_a_reader_that_fails_ends_the_pass(files: ParquetFiles):
    def failing(_: pl.DataFrame) -> pl.DataFrame:
        raise LookupError("in the reading thread")

    reads: Callable = RowStream(files, failing).tensors(tensors).chunks
    with pytest.raises(LookupError):
        list(reads())
