"""Rows that do not fit in memory: Parquet read in chunks, from disk or from an S3 store.

    rows = ParquetStream("s3://data/transactions/", tensors_of, columns=…)
    fit_network(network, loss, rows, validation, config, context)

At any time about three chunks are held: the one that is learned from, the next one, and what is
being read. Rows are shuffled within their chunk: files whose neighbouring rows are
alike have to be shuffled once, when they are written, in row groups of moderate size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar, cast

import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import torch

from modelyard.errors import DataError
from modelyard.training.rows import Tensors

Item = TypeVar("Item")

CHUNK_ROWS = 131_072

_CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class ParquetStream:
    """A `RowSource` over Parquet files.

    Attributes:
        uri: a file, a folder, or `s3://bucket/prefix`; an S3 store is found by the AWS variables
            (AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION, AWS_SHARED_CREDENTIALS_FILE).
        tensors: makes tensors of the rows of one chunk.
        columns: columns to read; all when None.
        keep: says which rows [n] of a chunk belong to this source, for a split; all when None.
        chunk_rows: rows in one chunk, which bounds the memory.
        device: where chunks are put.
    """

    uri: str
    tensors: Callable[[pl.DataFrame], Tensors]
    columns: Sequence[str] | None = None
    keep: Callable[[pl.DataFrame], pl.Series] | None = None
    chunk_rows: int = CHUNK_ROWS
    device: torch.device = _CPU

    def __len__(self) -> int:
        return self._rows

    def to(self, device: torch.device) -> ParquetStream:
        """The same rows, their chunks on `device`."""
        return dataclasses.replace(self, device=device)

    def chunks(self) -> Iterator[Tensors]:
        """One pass over all rows, in the order of the files."""
        for frame in _ahead(self.frames()):
            yield self.tensors(frame).to(self.device)

    def frames(self) -> Iterator[pl.DataFrame]:
        """One pass over all rows as data frames of at most `chunk_rows` rows.

        Raises:
            DataError: the files cannot be read, or lack a column.
        """
        try:
            for frame in _gathered(self._batches(), self.chunk_rows):
                kept = frame if self.keep is None else frame.filter(self.keep(frame))
                if len(kept):
                    yield kept
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error

    def _batches(self) -> Iterator[pa.RecordBatch]:
        """All record batches, read when they are asked for.

        pyarrow's own scanner reads ahead of a slow reader until it holds a gigabyte.
        """
        dataset = self._dataset
        columns = list(self.columns or dataset.schema.names)
        if missing := [name for name in columns if name not in dataset.schema.names]:
            raise DataError(
                f"{self.uri} cannot be read as Parquet with the columns {', '.join(missing)}: it "
                f"has {', '.join(dataset.schema.names)}."
            )
        for fragment in dataset.get_fragments():
            with fragment.filesystem.open_input_file(fragment.path) as source:
                file = pyarrow.parquet.ParquetFile(source)
                for batch in file.iter_batches(self.chunk_rows, columns=columns):
                    yield batch.select(columns)

    @cached_property
    def _dataset(self) -> pyarrow.dataset.Dataset:
        try:
            filesystem, path = pyarrow.fs.FileSystem.from_uri(self.uri)
        except (ValueError, pa.ArrowException):  # a path, relative or not, is no URI
            filesystem, path = pyarrow.fs.LocalFileSystem(), self.uri
        try:
            return pyarrow.dataset.dataset(
                path.rstrip("/"), filesystem=filesystem, format="parquet"
            )
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error

    @cached_property
    def _rows(self) -> int:
        if self.keep is None:
            try:
                return cast("int", self._dataset.count_rows())
            except (OSError, pa.ArrowException) as error:
                raise self._unreadable(error) from error
        return sum(map(len, self.frames()))

    def _unreadable(self, error: Exception) -> DataError:
        why = " ".join(str(error).split())[:300]
        return DataError(
            f"{self.uri} cannot be read as Parquet: {why}",
            fix="Is it there? An S3 store is found by AWS_ENDPOINT_URL_S3 and "
            "AWS_SHARED_CREDENTIALS_FILE.",
        )


def _gathered(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pl.DataFrame]:
    """Record batches, which end with their row group, put together to about `rows` rows."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        if held and count + batch.num_rows > rows:
            yield cast("pl.DataFrame", pl.from_arrow(pa.Table.from_batches(held)))
            held, count = [], 0
        held.append(batch)
        count += batch.num_rows
    if held:
        yield cast("pl.DataFrame", pl.from_arrow(pa.Table.from_batches(held)))


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each one made in another thread while the one before is used."""
    nothing = object()
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, items, nothing)
        while (item := coming.result()) is not nothing:
            coming = reader.submit(next, items, nothing)
            yield cast("Item", item)
