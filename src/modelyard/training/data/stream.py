"""Rows that do not fit in memory, as chunks to fit from, in a seeded order and read ahead.

About three chunks are in memory at any time: the current one, the next one, and what is being read.
Each epoch has its own order of row groups, and rows are shuffled within a chunk. Files in which
similar rows are neighbours, in few large row groups, must be shuffled when they are written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar, cast

import numpy as np
import polars as pl
import torch

from modelyard.training.data.parquet import ParquetFiles
from modelyard.training.tensors import Tensors

Item = TypeVar("Item")
Part = Callable[[pl.DataFrame], pl.DataFrame]

CHUNK_ROWS = 131_072

_CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class RowStream:
    """The rows of one part of a dataset, which are never in memory together.

    Attributes:
        part: the rows of a chunk that belong here; all when None.
        known_rows: how many there are; they are counted when None.
        chunk_rows: rows read at once.
        buffer_rows: rows shuffled together in a fit.
        seed: of the order of the row groups in a fit; the order of the files when None.
    """

    files: ParquetFiles
    part: Part | None = None
    known_rows: int | None = None
    chunk_rows: int = CHUNK_ROWS
    buffer_rows: int = CHUNK_ROWS
    seed: int | None = None

    def __len__(self) -> int:
        return self._rows if self.known_rows is None else self.known_rows

    def frames(self, rows: int | None = None, epoch: int = 0) -> Iterator[pl.DataFrame]:
        """One pass over all rows, in frames of at most `rows` rows, `chunk_rows` by default.

        Args:
            epoch: 0 for the order of the files; each other number has its own order.

        Raises:
            DataError: the files cannot be read.
        """
        order: list[int] | None = None
        if self.seed is not None and epoch:
            random = np.random.Generator(np.random.PCG64([self.seed, epoch]))
            order = random.permutation(len(self.files.row_groups)).tolist()
        for frame in self.files.frames(rows or self.chunk_rows, order):
            kept = frame if self.part is None else self.part(frame)
            if len(kept):
                yield kept

    def tensors(self, of: Callable[[pl.DataFrame], Tensors]) -> TensorStream:
        """The same rows as what `fit_network` takes; `of` makes tensors of one frame."""
        return TensorStream(self, of)

    @cached_property
    def _rows(self) -> int:
        return self.files.rows if self.part is None else sum(map(len, self.frames()))


@dataclasses.dataclass(frozen=True)
class TensorStream:
    """A `RowSource` of streamed rows."""

    rows: RowStream
    of: Callable[[pl.DataFrame], Tensors]
    device: torch.device = _CPU

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device) -> TensorStream:
        """The same rows, their chunks on `device`."""
        return dataclasses.replace(self, device=device)

    def chunks(self, epoch: int = 0) -> Iterator[Tensors]:
        """One pass over all rows, `buffer_rows` at once."""
        for frame in _ahead(self.rows.frames(self.rows.buffer_rows, epoch)):
            yield self.of(frame).to(self.device)


class Moments:
    """Mean and deviation of numbers that come in chunks, in one pass and without cancellation."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._squares = 0.0  # of the distances from the mean

    def add(self, values: np.ndarray) -> None:
        """Take `values` [n] into account (Chan, Golub and LeVeque 1979)."""
        if not len(values):
            return
        own = values.astype(np.float64, copy=False)
        mean = float(own.mean())
        count = self.count + len(own)
        apart = mean - self.mean
        self._squares += float(np.square(own - mean).sum())
        self._squares += apart * apart * self.count * len(own) / count
        self.mean += apart * len(own) / count
        self.count = count

    @property
    def deviation(self) -> float:
        """The standard deviation of the numbers as a population, not as a sample of one."""
        return float(np.sqrt(self._squares / self.count)) if self.count else 0.0


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each made in another thread while the one before is in use."""
    nothing = object()
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, items, nothing)
        while (item := coming.result()) is not nothing:
            coming = reader.submit(next, items, nothing)
            yield cast("Item", item)
