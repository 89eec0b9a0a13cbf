"""A dataset that breaks its contract is refused with a line for each fault."""

from __future__ import annotations

import polars as pl
import pytest

from modelyard.contract import Contract, Feature, FeatureType
from modelyard.errors import DataError
from modelyard.training.validate import validate_data

CONTRACT = Contract(
    features=(
        Feature(name="x", type=FeatureType.NUMBER, minimum=0, maximum=10),
        Feature(name="n", type=FeatureType.INTEGER),
        Feature(name="c", type=FeatureType.CATEGORY, categories=("a", "b")),
        Feature(name="ok", type=FeatureType.BOOLEAN),
    ),
    example={"x": 1, "n": 1, "c": "a", "ok": True},
)
GOOD = {"x": [1.0, 2.0], "n": [1, 2], "c": ["a", "b"], "ok": [True, False], "y": [0, 1]}


def test_good_data_passes():
    validate_data(pl.DataFrame(GOOD), CONTRACT, "y")


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("x", [1.0, None], "x: missing (1 of 2 rows)"),
        ("x", [1.0, float("nan")], "x: not finite (1 of 2 rows)"),
        ("x", [-1.0, 2.0], "x: below 0 (1 of 2 rows)"),
        ("x", [11.0, 12.0], "x: above 10 (2 of 2 rows)"),
        ("x", ["1", "2"], "x: expected number, found String (2 of 2 rows)"),
        ("n", [1.0, 2.0], "n: expected integer, found Float64 (2 of 2 rows)"),
        ("c", ["a", "z"], "c: not a known category (1 of 2 rows)"),
        ("ok", [1, 0], "ok: expected boolean, found Int64 (2 of 2 rows)"),
        ("y", [1, 1], "y: has one and the same value (2 of 2 rows)"),
        ("y", [0, None], "y: missing (1 of 2 rows)"),
    ],
)
def test_each_fault_is_counted(column: str, values: list, said: str):
    with pytest.raises(DataError) as caught:
        validate_data(pl.DataFrame({**GOOD, column: values}, strict=False), CONTRACT, "y")
    assert said in caught.value.detail


def test_all_faults_are_named_at_once_and_missing_columns_too():
    with pytest.raises(DataError) as caught:
        validate_data(pl.DataFrame({"x": [-1.0], "c": ["z"]}), CONTRACT, "y")
    for part in (
        "x: below 0",
        "n: the column is missing",
        "c: not a known",
        "y: the target column",
    ):
        assert part in caught.value.detail


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no rows"):
        validate_data(pl.DataFrame(GOOD).clear(), CONTRACT, "y")
