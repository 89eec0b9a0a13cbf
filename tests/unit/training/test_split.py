"""A row stays in its part when others are added, whatever its key is made of."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from modelyard.errors import DataError
from modelyard.training.split import by_hash, by_time, hash_rows

ROWS = 20_000
DATA = pl.DataFrame(
    {
        "number": np.arange(ROWS) - 5,
        "word": [f"customer-{i // 3}" for i in range(ROWS)],
        "day": pl.Series(range(ROWS)).cast(pl.Date),
        "flag": [i % 2 == 0 for i in range(ROWS)],
        "share": np.linspace(0, 1, ROWS),
    }
)


@pytest.mark.parametrize("key", [("number",), ("word",), ("day",), ("number", "word")])
def test_parts_have_their_shares_and_every_row_is_in_one(key: tuple[str, ...]):
    split = by_hash(DATA, *key, shares=(0.5, 0.3, 0.2))
    sizes = [len(part) / ROWS for part in (split.train, split.validation, split.test)]
    assert sum(sizes) == 1
    assert sizes == pytest.approx([0.5, 0.3, 0.2], abs=0.02)


@pytest.mark.parametrize("key", ["number", "word"])
def test_a_row_stays_in_its_part_when_rows_are_added_or_shuffled(key: str):
    small = by_hash(DATA.head(5_000), key)
    large = by_hash(DATA.sample(fraction=1, shuffle=True, seed=1), key)
    for name in ("train", "validation", "test"):
        before = set(getattr(small, name)["number"])
        assert before == {n for n in getattr(large, name)["number"] if n < 5_000 - 5}


def test_rows_with_the_same_key_stay_together():
    split = by_hash(DATA, "word")
    assert not set(split.train["word"]) & set(split.test["word"])


def test_the_hash_never_changes():
    """Numbers written down once: another hash would move rows between the parts of old data."""
    data = pl.DataFrame({"n": [0, 1, -1], "s": ["", "a", "é"]})
    assert hash_rows(data, "n").tolist() == [
        16294208416658607535,
        10451216379200822465,
        16490336266968443936,
    ]
    assert hash_rows(data, "s").tolist() == [
        5323092005331881792,
        4192132519135618423,
        5848471437526194044,
    ]
    assert hash_rows(data.cast({"n": pl.Int32}), "n").tolist() == hash_rows(data, "n").tolist()


def test_another_salt_divides_otherwise():
    assert set(by_hash(DATA, "number").test["number"]) != set(
        by_hash(DATA, "number", salt=1).test["number"]
    )


@pytest.mark.parametrize("key", ["share", "nowhere"])
def test_what_is_no_key_is_refused(key: str):
    with pytest.raises(DataError):
        by_hash(DATA, key)


def test_a_missing_key_is_refused():
    with pytest.raises(DataError, match="is missing in 1"):
        by_hash(pl.DataFrame({"k": [1, None]}), "k")


def test_time_splits_at_the_given_moments():
    days = pl.DataFrame({"at": [datetime(2025, 1, day, tzinfo=UTC) for day in range(1, 11)]})
    split = by_time(days, "at", datetime(2025, 1, 6, tzinfo=UTC), datetime(2025, 1, 9, tzinfo=UTC))
    assert [len(part) for part in (split.train, split.validation, split.test)] == [5, 3, 2]
    assert split.train["at"].max() < split.validation["at"].min()
    assert split.validation["at"].max() < split.test["at"].min()


@pytest.mark.parametrize("column", ["at", "nowhere"])
def test_a_time_that_cannot_be_compared_is_refused(column: str):
    days = pl.DataFrame({"at": [datetime(2025, 1, 1, tzinfo=UTC)]})
    naive = datetime(2025, 1, 6)  # noqa: DTZ001
    with pytest.raises(DataError):
        by_time(days, column, naive, naive)
