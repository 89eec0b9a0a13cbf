"""Parquet read in pieces: every row once, in bounded frames, in the order that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from modelyard.errors import DataError
from modelyard.training.data.parquet import ParquetFiles

ROWS = 10_000
DATA = pl.DataFrame({"id": np.arange(ROWS), "word": ["w"] * ROWS})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    for number, part in enumerate(DATA.iter_slices(4_000)):
        part.write_parquet(folder / f"part-{number}.parquet", row_group_size=700)
    return folder


@pytest.mark.parametrize("rows", [500, 1_000, 100_000])
def test_every_row_comes_once_in_frames_of_the_size_that_was_asked_for(folder: Path, rows: int):
    files = ParquetFiles(str(folder))
    for _ in range(2):  # each pass is a whole one
        frames = list(files.frames(rows))
        assert pl.concat(frames).equals(DATA)
        assert max(map(len, frames)) <= rows
    assert files.rows == ROWS


def test_one_file_or_named_files_can_be_read_too(folder: Path):
    assert ParquetFiles(str(folder / "part-0.parquet")).rows == 4_000
    names = (str(folder / "part-2.parquet"), str(folder / "part-0.parquet"))
    found = pl.concat(ParquetFiles(str(folder), names).frames(ROWS))
    assert found["id"].to_list() == [*range(8_000, ROWS), *range(4_000)]


def test_row_groups_come_in_the_order_that_was_asked_for(folder: Path):
    files = ParquetFiles(str(folder))
    order = list(reversed(range(len(files.row_groups))))
    found = pl.concat(files.frames(1_000, order))
    assert found["id"].to_list() != DATA["id"].to_list()
    assert found.sort("id").equals(DATA)


@pytest.mark.parametrize("limit", [1, 700, 5_100, ROWS, 2 * ROWS])
def test_a_limit_gives_the_first_rows_in_any_order(folder: Path, limit: int):
    files = ParquetFiles(str(folder), limit=limit)
    assert files.rows == min(limit, ROWS)
    order = list(reversed(range(len(files.row_groups))))
    assert pl.concat(files.frames(300, order)).sort("id").equals(DATA.head(limit))


def test_files_that_differ_in_their_columns_come_in_frames_of_their_own(tmp_path: Path):
    DATA.write_parquet(tmp_path / "a.parquet")
    DATA.with_columns(pl.col("id").cast(pl.Float64)).write_parquet(tmp_path / "b.parquet")
    DATA.rename({"word": "name"}).write_parquet(tmp_path / "c.parquet")
    frames = list(ParquetFiles(str(tmp_path)).frames(3 * ROWS))
    assert [frame["id"].dtype for frame in frames] == [pl.Int64, pl.Float64, pl.Int64]
    assert frames[2].columns == ["id", "name"]


def test_what_cannot_be_read_is_a_data_error(tmp_path: Path):
    (tmp_path / "no.parquet").write_text("no parquet")
    whole = tmp_path / "cut.parquet"
    DATA.write_parquet(whole, compression="uncompressed")
    content = bytearray(whole.read_bytes())
    content[:2_000] = bytes(2_000)  # the footer is good, the first row group is not
    whole.write_bytes(content)
    for name in ("nowhere", "no.parquet", "cut.parquet"):
        with pytest.raises(DataError, match="cannot be read as Parquet"):
            list(ParquetFiles(str(tmp_path / name)).frames(1_000))
