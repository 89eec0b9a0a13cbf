"""Parquet files that are never in memory whole, on disk or in an S3 store: row group by row group.

An S3 store is found by the AWS variables (AWS_ENDPOINT_URL_S3, AWS_DEFAULT_REGION,
AWS_SHARED_CREDENTIALS_FILE).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet

from modelyard.errors import DataError


@dataclass(frozen=True)
class RowGroup:
    """The first `rows` rows of one row group of one file."""

    path: str
    index: int
    rows: int


@dataclass(frozen=True)
class ParquetFiles:
    """The rows of Parquet files, in the order of their names.

    Attributes:
        uri: a file, a folder, or `s3://bucket/prefix`.
        names: the files to read, `bucket/key` for a store; all that are there when None.
        limit: only so many rows, the first ones; all when None.
    """

    uri: str
    names: tuple[str, ...] | None = None
    limit: int | None = None

    @property
    def rows(self) -> int:
        """How many rows there are, by the files' footers."""
        return sum(group.rows for group in self.row_groups)

    @cached_property
    def row_groups(self) -> tuple[RowGroup, ...]:
        """Every row group, in the order of the files.

        Raises:
            DataError: a file cannot be read.
        """
        found: list[RowGroup] = []
        left = self.limit
        for path, footer in self._footers.items():
            for index in range(footer.num_row_groups):
                rows = footer.row_group(index).num_rows
                if left is not None:
                    rows = min(rows, left)
                    left -= rows
                if rows:
                    found.append(RowGroup(path, index, rows))
        return tuple(found)

    def frames(self, rows: int, order: Sequence[int] | None = None) -> Iterator[pl.DataFrame]:
        """One pass over all rows as frames of at most `rows` rows; each has one schema.

        Args:
            order: which row group comes when; the order of the files when None.

        Raises:
            DataError: a file cannot be read.
        """
        groups = self.row_groups
        with self._readable():
            chosen = groups if order is None else [groups[index] for index in order]
            batches = (batch for group in chosen for batch in self._batches(group, rows))
            yield from _gathered(batches, rows)

    def _batches(self, group: RowGroup, rows: int) -> Iterator[pa.RecordBatch]:
        """The record batches of one row group, each read when it is needed.

        pyarrow's own scanner reads ahead of a slow reader until it holds a gigabyte.
        """
        left = group.rows
        with self._filesystem.open_input_file(group.path) as source:
            file = pyarrow.parquet.ParquetFile(source, metadata=self._footers[group.path])
            for batch in file.iter_batches(rows, row_groups=[group.index]):
                yield batch.slice(0, left)
                left -= batch.num_rows
                if left <= 0:
                    return

    @cached_property
    def _footers(self) -> dict[str, pyarrow.parquet.FileMetaData]:
        with self._readable():
            names: Sequence[str] | None = self.names
            if names is None:  # all of the folder, without names that begin with _ or .
                folder = self._place[1].rstrip("/")
                dataset = pyarrow.dataset.dataset(
                    folder, filesystem=self._filesystem, format="parquet"
                )
                names = sorted(dataset.files)
            footers = {}
            for name in names:
                with self._filesystem.open_input_file(name) as source:
                    footers[name] = pyarrow.parquet.ParquetFile(source).metadata
            return footers

    @property
    def _filesystem(self) -> pyarrow.fs.FileSystem:
        return self._place[0]

    @cached_property
    def _place(self) -> tuple[pyarrow.fs.FileSystem, str]:
        try:
            filesystem, path = pyarrow.fs.FileSystem.from_uri(self.uri)
        except (ValueError, pa.ArrowException):  # a path is no URI
            return pyarrow.fs.LocalFileSystem(), self.uri
        return filesystem, path

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            why = " ".join(str(error).split())[:300]
            raise DataError(
                f"{self.uri} cannot be read as Parquet: {why}",
                fix="Is it there? An S3 store is found by AWS_ENDPOINT_URL_S3 and "
                "AWS_SHARED_CREDENTIALS_FILE.",
            ) from error


def _gathered(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pl.DataFrame]:
    """Record batches, which end with their row group, joined into frames of `rows` rows."""
    held: list[pa.RecordBatch] = []
    room = rows
    for batch in batches:
        # files of one dataset may differ in their columns, which is for the contract to say
        if held and batch.schema != held[0].schema:
            yield _frame(held)
            held, room = [], rows
        begin = 0
        while begin < batch.num_rows:
            held.append(batch.slice(begin, room))
            begin += held[-1].num_rows
            room -= held[-1].num_rows
            if not room:
                yield _frame(held)
                held, room = [], rows
    if held:
        yield _frame(held)


def _frame(batches: list[pa.RecordBatch]) -> pl.DataFrame:
    return cast("pl.DataFrame", pl.from_arrow(pa.Table.from_batches(batches)))
