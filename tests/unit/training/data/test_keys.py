"""Keys that rows share are found without holding them, exactly as a join would find them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from modelyard.training.data import keys
from modelyard.training.data.keys import KeyHashes, hash_keys
from modelyard.training.data.sample import RowSample

PAIRS = ((1, 0), (2, 0), (2, 1))


@pytest.mark.parametrize("bucket_rows", [50, 1_000_000])
def test_duplicates_and_leaks_are_counted_as_a_join_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket_rows: int
):
    monkeypatch.setattr(keys, "_BUCKET_ROWS", bucket_rows)
    random = np.random.default_rng(2)
    data = pl.DataFrame(
        {"card": random.integers(0, 400, 1_000), "day": random.choice(["mon", "tue"], 1_000)}
    )
    part = random.integers(0, 3, 1_000)
    hashes = KeyHashes(tmp_path, ("card", "day"), 1_000)
    for begin in range(0, 1_000, 130):
        chunk, here = data[begin : begin + 130], part[begin : begin + 130]
        for index in range(3):
            hashes.add(chunk.filter(pl.Series(here == index)), index)
    assert hashes.duplicates() == int(data.is_duplicated().sum()) > 0
    parts = [data.filter(pl.Series(part == index)) for index in range(3)]
    assert hashes.leaks(PAIRS) == {
        (later, earlier): len(parts[later].join(parts[earlier], on=data.columns, how="semi"))
        for later, earlier in PAIRS
    }


def test_unique_keys_have_no_duplicates_and_missing_ones_are_alike(tmp_path: Path):
    hashes = KeyHashes(tmp_path, ("id",), 10)
    hashes.add(pl.DataFrame({"id": range(10)}))
    assert hashes.duplicates() == 0
    hashes.add(pl.DataFrame({"id": [None, None, 3]}, schema={"id": pl.Int64}))
    assert hashes.duplicates() == 4


def test_the_width_of_an_integer_and_the_kind_of_a_string_do_not_matter():
    wide = pl.DataFrame({"n": [1, 2], "s": ["a", "b"]})
    other = wide.with_columns(pl.col("n").cast(pl.UInt8), pl.col("s").cast(pl.Enum(["b", "a"])))
    assert (hash_keys(wide, ("n", "s"), 1) == hash_keys(other, ("n", "s"), 1)).all()
    assert (hash_keys(wide, (), 1) != hash_keys(wide, (), 2)).all()


def sampled(data: pl.DataFrame, limit: int, pieces: int, key: tuple[str, ...] = ()) -> pl.DataFrame:
    sample = RowSample(limit, key)
    for piece in data.iter_slices(-(-len(data) // pieces)):
        sample.add(piece)
    return sample.rows()


def test_a_sample_is_the_same_in_whatever_order_rows_come_and_stays_when_some_are_added():
    data = pl.DataFrame({"id": np.arange(20_000), "x": np.arange(20_000) % 10})
    sample = sampled(data, 1_000, 30, ("id",))
    assert len(sample) == sample["id"].n_unique() == 1_000
    assert 4 < sample["x"].mean() < 5
    shuffled = data.sample(fraction=1, shuffle=True, seed=3)
    assert sampled(shuffled, 1_000, 7, ("id",)).equals(sample)
    more = pl.concat([data, data.head(2_000).with_columns(pl.col("id") + 20_000)])
    kept = sampled(more, 1_000, 11, ("id",)).join(sample, on="id", how="semi")
    assert len(kept) > 850


def test_a_part_that_is_smaller_than_the_limit_is_kept_whole():
    data = pl.DataFrame({"x": [1.5, 2.5, 2.5]})
    assert sampled(data, 10, 2).sort("x").equals(data)
    assert RowSample(10).rows().is_empty()
