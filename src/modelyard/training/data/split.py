"""Dividing rows so that a row stays in its part when others are added.

`by_hash` is for independent rows. `by_time` is for rows that follow each other: the model is then
judged by later rows than it has learned from.
"""

from __future__ import annotations

import hashlib
from datetime import date, datetime, time

import numpy as np
import polars as pl

from modelyard.errors import ConfigError, DataError
from modelyard.training.project import Split

TRAIN, VALIDATION, TEST = 0, 1, 2
_PARTS = 3
_RESOLUTION = 10_000  # shares are kept to a hundredth of a percent


def by_hash(
    data: pl.DataFrame,
    *key: str,
    shares: tuple[float, float, float] = (0.70, 0.15, 0.15),
    salt: int = 0,
) -> Split:
    """Split by a hash of the columns `key`: equal keys are in the same part, now and later.

    Args:
        key: columns of integers, strings, booleans, dates or times; a customer's id, as a rule.
        shares: of train, validation and test; they sum to 1.
        salt: another number gives another split of the same rows.
    """
    part = pl.Series(part_of(data, *key, shares=shares, salt=salt))
    return Split(
        train=data.filter(part == TRAIN),
        validation=data.filter(part == VALIDATION),
        test=data.filter(part == TEST),
    )


def part_of(
    data: pl.DataFrame,
    *key: str,
    shares: tuple[float, float, float] = (0.70, 0.15, 0.15),
    salt: int = 0,
) -> np.ndarray:
    """The part that `by_hash` puts each row in: TRAIN, VALIDATION or TEST, int8 [n]."""
    if len(shares) != _PARTS or min(shares) < 0 or abs(sum(shares) - 1) > 1 / _RESOLUTION:
        raise ValueError(f"expected three shares that sum to 1, found {shares}")
    bucket = hash_rows(data, *key, salt=salt) % np.uint64(_RESOLUTION)
    edges = [round(shares[0] * _RESOLUTION), round((shares[0] + shares[1]) * _RESOLUTION)]
    part: np.ndarray = np.searchsorted(edges, bucket, side="right")
    return part.astype(np.int8)


def by_time(
    data: pl.DataFrame, column: str, validation_from: date | datetime, test_from: date | datetime
) -> Split:
    """Split by two moments: train before the first, test from the second on.

    The moments are given, not taken from the data: rows added later do not move them.

    Raises:
        ConfigError: the first moment is not before the second.
        DataError: no such column, it holds no times or has missing ones, or only one side has a
            time zone.
    """
    if column not in data.columns:
        raise DataError(f'The split needs the column "{column}", which the dataset does not have.')
    moment = data[column]
    if not isinstance(moment.dtype, (pl.Date, pl.Datetime)):
        raise DataError(f'Rows cannot be split by the time "{column}", which is {moment.dtype}.')
    aware = getattr(moment.dtype, "time_zone", None) is not None
    for bound in (validation_from, test_from):
        if aware != (getattr(bound, "tzinfo", None) is not None):
            raise DataError(
                f'"{column}" is {moment.dtype} and the split is at {bound}: one of them has a time '
                "zone and the other has none.",
                fix="Give both a time zone, UTC as a rule.",
            )
    first, second = _at(validation_from), _at(test_from)
    if not first < second:
        raise ConfigError(
            f"The split by time validates from {validation_from} on and tests from {test_from} on: "
            "the first has to be before the second.",
            fix="Correct the two moments in the project's split.",
        )
    if moment.null_count():
        raise DataError(_missing(column, moment.null_count()))
    if moment.dtype == pl.Date:
        moment = moment.cast(pl.Datetime)  # a day is not compared with a moment within it
    return Split(
        train=data.filter(moment < first),
        validation=data.filter((moment >= first) & (moment < second)),
        test=data.filter(moment >= second),
    )


def _at(moment: date | datetime) -> datetime:
    """A day as the moment at which it begins."""
    return moment if isinstance(moment, datetime) else datetime.combine(moment, time.min)


def _missing(column: str, rows: int) -> str:
    return f'"{column}", by which rows are split, is missing in {rows:,} of them.'


def hash_rows(data: pl.DataFrame, *key: str, salt: int = 0) -> np.ndarray:
    """A hash of the columns `key` in each row, uint64 [n], the same with every version of polars.

    Raises:
        DataError: a key is not there, is missing in a row, or is a float.
    """
    if not key:
        raise ValueError("expected at least one key column")
    mixed = np.full(len(data), salt, dtype=np.uint64)
    for name in key:
        mixed = _mix(mixed ^ _numbers(data, name))
    return mixed


def _numbers(data: pl.DataFrame, name: str) -> np.ndarray:
    """A column as uint64 [n], equal where its values are equal."""
    if name not in data.columns:
        raise DataError(f'The split needs the column "{name}", which the dataset does not have.')
    column = data[name]
    if column.null_count():
        raise DataError(_missing(name, column.null_count()))
    if column.dtype.is_integer() or column.dtype == pl.Boolean or column.dtype.is_temporal():
        numbers: np.ndarray = column.to_physical().cast(pl.Int64).to_numpy()
        return numbers.astype(np.uint64)
    if not isinstance(column.dtype, (pl.String, pl.Categorical, pl.Enum)):
        raise DataError(f'Rows cannot be split by "{name}", which is {column.dtype}.')
    words = column.cast(pl.String)
    distinct = words.unique()
    digests = [hashlib.blake2b(word.encode(), digest_size=8).digest() for word in distinct]
    values = pl.Series(np.frombuffer(b"".join(digests), dtype="<u8"))
    hashed: np.ndarray = words.replace_strict(distinct, values, return_dtype=pl.UInt64).to_numpy()
    return hashed


def _mix(value: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser: every bit of the result depends on every bit of `value`, uint64."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = value ^ (value >> np.uint64(31))
    return mixed
