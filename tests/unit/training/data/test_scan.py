"""The first pass over a stream finds what the checks in memory find, in the same words."""

from __future__ import annotations

import dataclasses
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fraud_detector import PROJECT, dataset
from modelyard.errors import ConfigError, DataError
from modelyard.training.data.parquet import ParquetFiles
from modelyard.training.data.scan import scan
from modelyard.training.data.split import by_hash, by_time
from modelyard.training.data.validate import validate_data, validate_split
from modelyard.training.experiment import StreamConfig
from modelyard.training.project import DataRules, Project, Split, StreamedSplit

ROWS = 12_000
CONFIG = StreamConfig(chunk_rows=1_000, buffer_rows=2_000, baseline_rows=1_000, held_out_rows=1_500)


@pytest.fixture(scope="module")
def transactions(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    path = tmp_path_factory.mktemp("data") / "t.parquet"
    dataset.generate(path, rows=ROWS)
    return dataset.load(path)


def scanned(
    data: pl.DataFrame, folder: Path, project: Project = PROJECT, said: list[str] | None = None
) -> StreamedSplit:
    for number, part in enumerate(data.iter_slices(5_000)):
        part.write_parquet(folder / f"{number}.parquet", row_group_size=700)
    files = ParquetFiles(str(folder))
    return scan(files, project, CONFIG, folder / "state", 7, (said or []).append)


def test_parts_are_those_of_the_split_in_memory_and_samples_are_bounded(
    transactions: pl.DataFrame, tmp_path: Path
):
    said = ["first"]
    found = scanned(transactions, tmp_path, said=said)
    whole = dataset.split(transactions)
    assert pl.concat(found.train.frames()).equals(whole.train)
    assert found.rows == {
        name: len(getattr(whole, name)) for name in ("train", "validation", "test")
    }
    assert len(found.sample.train) == 1_000
    assert len(found.validation) == len(found.sample.test) == 1_500
    assert len(found.sample.test.join(whole.test, on=found.sample.test.columns)) == 1_500
    assert f"1,500 of {len(whole.test):,} to test" in said[2]
    assert f"1,000 of {len(whole.train):,} training rows" in said[3]
    assert list((tmp_path / "state").iterdir()) == []  # hashes have no names


def test_a_split_by_time_is_streamed_as_well(transactions: pl.DataFrame, tmp_path: Path):
    days = [date(2025, 1, 1) + timedelta(days=int(day)) for day in np.arange(ROWS) * 365 // ROWS]
    data = transactions.with_columns(pl.Series("day", days))
    project = dataclasses.replace(
        PROJECT,
        split=lambda frame: by_time(frame, "day", date(2025, 9, 1), date(2025, 11, 1)),
    )
    found = scanned(data, tmp_path, project)
    assert pl.concat(found.train.frames())["day"].max() == date(2025, 8, 31)
    assert found.sample.test["day"].min() >= date(2025, 11, 1)


def damaged(data: pl.DataFrame, **changes: pl.Expr) -> pl.DataFrame:
    return data.with_columns(**changes)


LATE = pl.col("transaction_id") > ROWS - 7
DAMAGES = {
    "nulls": lambda d: damaged(d, amount=pl.when(~LATE).then("amount")),
    "range": lambda d: damaged(d, amount=pl.when(LATE).then(-1.0).otherwise("amount")),
    "NaN": lambda d: damaged(d, amount=pl.when(LATE).then(float("nan")).otherwise("amount")),
    "category": lambda d: damaged(
        d, merchant_category=pl.when(LATE).then(pl.lit("zoo")).otherwise("merchant_category")
    ),
    "type": lambda d: damaged(d, hour=pl.col("hour").cast(pl.Float64)),
    "renamed": lambda d: d.rename({"hour": "hours"}),
    "label": lambda d: damaged(d, is_fraud=pl.when(LATE).then(2).otherwise("is_fraud")),
    "one class": lambda d: damaged(d, is_fraud=pl.lit(0)),
    "label rate": lambda d: damaged(
        d, is_fraud=pl.when(pl.col("hour") < 14).then(1).otherwise("is_fraud")
    ),
    "duplicates": lambda d: pl.concat([d, d.head(3), d.tail(2)]),
    "several": lambda d: damaged(
        pl.concat([d, d.head(1)]), amount=-pl.col("amount"), hour=pl.col("hour") + 1
    ),
    "empty": lambda d: d.clear(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_the_table_of_faults_is_the_one_of_rows_in_memory(
    transactions: pl.DataFrame, tmp_path: Path, damage
):
    data = damage(transactions)
    with pytest.raises(DataError) as in_memory:
        validate_data(data, PROJECT.contract, PROJECT.target, PROJECT.rules)
    if data.is_empty():
        data.write_parquet(tmp_path / "0.parquet")
    with pytest.raises(DataError) as streamed:
        scanned(data, tmp_path)
    assert streamed.value.sentence() == in_memory.value.sentence()


def test_a_file_that_differs_from_the_others_is_counted_alone(
    transactions: pl.DataFrame, tmp_path: Path
):
    later = transactions.tail(900).with_columns(pl.col("hour").cast(pl.Float64))
    later.write_parquet(tmp_path / "9.parquet")
    with pytest.raises(DataError) as caught:
        scanned(transactions.head(ROWS - 900), tmp_path)
    lines = [" ".join(line.split()) for line in caught.value.detail.splitlines()]
    assert lines[1:] == [
        f"column problem rows of {ROWS:,}", "hour expected integer, found Float64 900",
    ]  # fmt: skip


def test_keys_in_two_parts_are_counted_as_in_memory(transactions: pl.DataFrame, tmp_path: Path):
    project = dataclasses.replace(
        PROJECT,
        rules=DataRules(row_key=("transaction_id",), split_key=("card",), label_rate=(0, 1)),
    )
    data = transactions.with_columns(card=pl.col("transaction_id") % 9_000)
    with pytest.raises(DataError, match="whose key is in train") as in_memory:
        validate_split(
            project.split(data), len(data), project.contract, project.target, project.rules
        )
    with pytest.raises(DataError) as streamed:
        scanned(data, tmp_path, project)
    assert streamed.value.detail == in_memory.value.detail

    by_card = dataclasses.replace(project, split=lambda frame: by_hash(frame, "card"))
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    scanned(data, tmp_path, by_card)


LOSE = pl.col("transaction_id") % 100 == 7
TWICE = pl.col("transaction_id") % 100 == 8


def lossy(frame: pl.DataFrame) -> Split:
    """Some rows are in no part, and as many in two."""
    split = by_hash(frame.filter(~LOSE), "transaction_id")
    return dataclasses.replace(split, test=pl.concat([split.test, split.train.filter(TWICE)]))


@pytest.mark.parametrize("split_key", [(), ("transaction_id",), ("hour",)])
def test_rows_in_no_part_and_in_two_are_counted_as_in_memory(
    transactions: pl.DataFrame, tmp_path: Path, split_key: tuple[str, ...]
):
    rules = DataRules(row_key=("transaction_id",), split_key=split_key)
    project = dataclasses.replace(PROJECT, rules=rules, split=lossy)
    with pytest.raises(DataError, match=r"transaction_id .* of test whose key is in") as in_memory:
        validate_split(lossy(transactions), ROWS, project.contract, project.target, project.rules)
    assert "rows of the dataset are in no part" in in_memory.value.detail
    with pytest.raises(DataError, match=r"transaction_id .* of test whose key is in") as streamed:
        scanned(transactions, tmp_path, project)
    assert "rows of the dataset are in no part" in streamed.value.detail


def test_a_part_without_rows_is_refused_as_in_memory(transactions: pl.DataFrame, tmp_path: Path):
    project = dataclasses.replace(
        PROJECT, split=lambda frame: by_hash(frame, "transaction_id", shares=(0.9, 0.1, 0.0))
    )
    with pytest.raises(DataError, match=r"test +the part has no rows"):
        scanned(transactions, tmp_path, project)


def by_position(frame: pl.DataFrame) -> Split:
    """A split that depends on how many rows there are."""
    half = len(frame) // 2
    return Split(frame[:half], frame[half : half + half // 2], frame[half + half // 2 :])


def test_a_split_that_needs_all_rows_at_once_is_refused(transactions: pl.DataFrame, tmp_path: Path):
    with pytest.raises(ConfigError, match="puts a row into another part"):
        scanned(transactions, tmp_path, dataclasses.replace(PROJECT, split=by_position))


def test_a_category_that_training_never_saw_is_said(transactions: pl.DataFrame, tmp_path: Path):
    said = ["first"]
    scanned(transactions.filter(pl.col("merchant_category") != "home"), tmp_path, said=said)
    assert "warning   merchant_category: no training row has home" in said
