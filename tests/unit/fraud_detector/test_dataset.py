"""The demo data: the same bytes for ever, and a fraud process that is what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from fraud_detector import PROJECT, dataset
from fraud_detector.contract import CONTRACT
from modelyard.errors import DataError
from modelyard.provenance import md5_of, read_pointer
from modelyard.training.data.validate import validate_data

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("data") / "transactions.parquet"
    dataset.generate(target)
    return target


@pytest.fixture(scope="module")
def data(path: Path) -> pl.DataFrame:
    return dataset.load(path)


def test_the_generator_writes_the_bytes_that_the_committed_pointer_names(path: Path):
    pointer = read_pointer(ROOT / "data", "transactions.parquet")
    assert (md5_of(path), path.stat().st_size) == (pointer.md5, pointer.size_bytes)


def test_the_data_keeps_the_contract(data: pl.DataFrame):
    assert len(data) == dataset.ROWS
    validate_data(data, CONTRACT, PROJECT.target, PROJECT.rules)


def test_labels_follow_the_documented_probability(data: pl.DataFrame):
    """In each tenth by probability, the share of frauds is the mean probability."""
    probability = dataset.fraud_probability(data)
    label = data["is_fraud"].to_numpy()
    assert probability.min() > 0 and probability.max() < 1
    for part in np.array_split(np.argsort(probability), 10):
        expected = probability[part].mean()
        deviation = np.sqrt(expected * (1 - expected) / len(part))
        assert abs(label[part].mean() - expected) < 5 * deviation


def test_no_other_ranking_beats_the_true_probability(data: pl.DataFrame):
    label, probability = data["is_fraud"].to_numpy(), dataset.fraud_probability(data)
    best = roc_auc_score(label, probability)
    assert best > 0.85
    assert best > roc_auc_score(label, data["amount"].to_numpy())


def test_the_split_keeps_a_row_in_its_part_when_rows_are_added(data: pl.DataFrame):
    small, large = dataset.split(data.head(5_000)), dataset.split(data.head(20_000))
    for part in ("train", "validation", "test"):
        before = set(getattr(small, part)["transaction_id"])
        assert before == {i for i in getattr(large, part)["transaction_id"] if i <= 5_000}


def test_the_split_is_a_partition_of_about_the_right_sizes(data: pl.DataFrame):
    split = dataset.split(data)
    parts = [split.train, split.validation, split.test]
    assert sum(map(len, parts)) == len(data)
    assert [round(len(p) / len(data), 2) for p in parts] == [0.7, 0.15, 0.15]


def test_a_broken_file_is_a_data_error(tmp_path: Path):
    (tmp_path / "broken.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot be read"):
        dataset.load(tmp_path / "broken.parquet")
