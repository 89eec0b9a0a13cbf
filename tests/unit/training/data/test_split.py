"""A row stays in its part when others are added, whatever its key is made of."""

from __future__ import annotations

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from modelyard.errors import ConfigError, DataError
from modelyard.training.data.split import by_hash, by_time, hash_rows

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


DAYS = pl.DataFrame({"at": [datetime(2025, 1, day, tzinfo=UTC) for day in range(1, 11)]})
EARLY, LATE = datetime(2025, 1, 4, tzinfo=UTC), datetime(2025, 1, 8, tzinfo=UTC)


@pytest.mark.parametrize("bounds", [(LATE, EARLY), (EARLY, EARLY)])
def test_moments_in_the_wrong_order_are_refused(bounds: tuple[datetime, datetime]):
    with pytest.raises(ConfigError, match="has to be before"):
        by_time(DAYS, "at", *bounds)


def test_rows_without_a_moment_are_refused_and_do_not_vanish():
    lacking = DAYS.with_columns(at=pl.when(pl.col("at") != EARLY).then("at"))
    with pytest.raises(DataError, match='"at", by which rows are split, is missing in 1 of them'):
        by_time(lacking, "at", EARLY, LATE)


def test_either_moment_needs_a_time_zone_where_the_column_has_one():
    for bounds in ((EARLY.replace(tzinfo=None), LATE), (EARLY, LATE.replace(tzinfo=None))):
        with pytest.raises(DataError, match="time zone"):
            by_time(DAYS, "at", *bounds)


def test_a_column_that_holds_no_moments_is_refused():
    with pytest.raises(DataError, match="which is String"):
        by_time(DAYS.cast({"at": pl.String}), "at", EARLY, LATE)


def test_a_day_and_a_time_may_be_given_together():
    at = DAYS.with_columns(pl.col("at").dt.replace_time_zone(None))
    split = by_time(at, "at", date(2025, 1, 4), LATE.replace(tzinfo=None))
    assert [len(part) for part in (split.train, split.validation, split.test)] == [3, 4, 3]
    days = by_time(at.cast({"at": pl.Date}), "at", date(2025, 1, 4), datetime(2025, 1, 7, 12))  # noqa: DTZ001
    assert [len(part) for part in (days.train, days.validation, days.test)] == [3, 4, 3]
