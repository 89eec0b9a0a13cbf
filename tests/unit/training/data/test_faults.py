"""Faults of columns are counted by what the contract says of each, all of them in one pass."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.errors import DataError
from modelyard.training.data.faults import column_faults
from modelyard.training.data.validate import DataCheck
from modelyard.training.project import DataRules

NUMBER, INTEGER, BOOLEAN = FeatureType.NUMBER, FeatureType.INTEGER, FeatureType.BOOLEAN
STRING, CATEGORY = FeatureType.STRING, FeatureType.CATEGORY
CLASSES = OutputKind.CLASS_PROBABILITIES
EXAMPLES = {NUMBER: 1.0, INTEGER: 1, BOOLEAN: True, STRING: "a", CATEGORY: "a"}
GREEK = pl.Enum(["a", "b", "c"])


def contract(*features: Feature, output: Output | None = None) -> Contract:
    return Contract(
        features=features,
        output=output or Output(kind=OutputKind.VALUE),
        example={feature.name: EXAMPLES[feature.type] for feature in features},
    )


def counted(
    kind: FeatureType, values: list[Any], dtype: Any = None, **rules: Any
) -> dict[str, int]:
    """Problem → rows, of one column."""
    feature = Feature(name="f", type=kind, **rules)
    data = pl.DataFrame({"f": pl.Series(values, dtype=dtype, strict=False)})
    return {fault.problem: fault.rows for fault in column_faults(data, contract(feature), "y")}


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        *((NUMBER, dtype) for dtype in (pl.Float64, pl.Float32, pl.Int8, pl.UInt32)),
        *((INTEGER, dtype) for dtype in (pl.Int64, pl.Int32, pl.Int16, pl.Int8)),
        *((INTEGER, dtype) for dtype in (pl.UInt32, pl.UInt16, pl.UInt8)),
        (BOOLEAN, pl.Boolean),
        (STRING, pl.String),
        *((CATEGORY, dtype) for dtype in (pl.String, pl.Categorical, GREEK)),
    ],
)
def test_each_type_may_be_held_by_these_columns(kind: FeatureType, dtype: Any):
    rules = {"categories": ("a", "b")} if kind is CATEGORY else {}
    assert counted(kind, [EXAMPLES[kind], EXAMPLES[kind]], dtype, **rules) == {}
    assert counted(kind, [EXAMPLES[kind], None], dtype, **rules) == {"missing": 1}


@pytest.mark.parametrize(
    ("kind", "dtype", "found"),
    [
        (NUMBER, pl.String, "String"),
        (NUMBER, pl.Boolean, "Boolean"),
        (NUMBER, pl.UInt64, "UInt64"),
        (INTEGER, pl.Float64, "Float64"),
        (INTEGER, pl.UInt64, "UInt64"),  # int64, which the model gets, cannot hold it
        (BOOLEAN, pl.Int64, "Int64"),
        (STRING, pl.Categorical, "Categorical"),
        (STRING, pl.Binary, "Binary"),
        (CATEGORY, pl.Int64, "Int64"),
    ],
)
def test_a_column_of_a_wrong_type_has_that_one_fault(kind: FeatureType, dtype: Any, found: str):
    """Also where its values are missing, and where there is a range to compare them with."""
    rules: dict[str, Any] = {"minimum": 0} if kind in (NUMBER, INTEGER) else {}
    if kind is CATEGORY:
        rules = {"categories": ("a",)}
    assert counted(kind, [None, None, None], dtype, **rules) == {
        f"expected {kind.value}, found {found}": 3
    }


@pytest.mark.parametrize("dtype", [pl.Float64, pl.Float32, pl.Int64])
def test_a_range_includes_its_ends(dtype: Any):
    values = [-1, 0, 5, 10, 11, 12, None]
    assert counted(NUMBER, values, dtype, minimum=0, maximum=10) == {
        "missing": 1, "below 0": 1, "above 10": 2,
    }  # fmt: skip


def test_what_is_not_finite_is_neither_below_nor_above():
    values = [float("nan"), float("inf"), float("-inf"), -1.0, 11.0]
    assert counted(NUMBER, values, minimum=0, maximum=10) == {
        "not finite": 3, "below 0": 1, "above 10": 1,
    }  # fmt: skip
    assert counted(NUMBER, values) == {"not finite": 3}


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, GREEK])
def test_categories_are_compared_as_text(dtype: Any):
    values = ["a", "b", "c", "c", None]
    known = {"categories": ("a", "b")}
    assert counted(CATEGORY, values, dtype, **known) == {"missing": 1, "not a known category": 2}
    assert counted(CATEGORY, values, dtype, **known, allow_unknown=True) == {"missing": 1}


def test_text_is_measured_in_characters():
    assert counted(STRING, ["äöü", "äöüß", None], max_length=3) == {
        "missing": 1, "longer than 3 characters": 1,
    }  # fmt: skip
    unknown = {"categories": ("a",), "allow_unknown": True, "max_length": 3}
    assert counted(CATEGORY, ["abc", "abcd"], **unknown) == {"longer than 3 characters": 1}


@pytest.mark.parametrize(
    ("output", "labels", "found"),
    [
        (OutputKind.PROBABILITY, [True, False, None], {"missing": 1}),
        (OutputKind.PROBABILITY, [0.0, 1.0, 0.5, float("nan")], {"neither 0 nor 1": 2}),
        (OutputKind.VALUE, [1, 2, None], {"missing": 1}),
        (OutputKind.VALUE, [1.5, float("nan"), float("inf")], {"not finite": 2}),
        (OutputKind.VALUE, [True, False], {"expected number, found Boolean": 2}),
        (CLASSES, ["p", "r", None], {"missing": 1, "not a class of the contract": 1}),
        (CLASSES, [0, 1, 2, -1], {"not a class of the contract": 2}),
        (CLASSES, [0.0], {"expected a class, or its index, found Float64": 1}),
    ],
)
def test_labels_are_counted_by_the_kind_of_the_output(
    output: OutputKind, labels: list[Any], found: dict[str, int]
):
    classes = ("p", "q") if output is CLASSES else ()
    of_x = contract(Feature(name="x", type=NUMBER), output=Output(kind=output, classes=classes))
    faults = column_faults(pl.DataFrame({"y": labels}, strict=False), of_x, "y")
    assert {fault.problem: fault.rows for fault in faults} == found
    assert {fault.column for fault in faults} == {"y"}


FEATURES = (
    Feature(name="x", type=NUMBER, minimum=0, maximum=10),
    Feature(name="n", type=INTEGER, minimum=0),
    Feature(name="c", type=CATEGORY, categories=("a", "b")),
    Feature(name="s", type=STRING, max_length=3),
    Feature(name="ok", type=BOOLEAN),
)
MANY_FAULTS = pl.DataFrame(
    {
        "x": [-1.0, 11.0, float("nan"), None],
        "n": [1.0, 2.0, 3.0, 4.0],
        "c": ["a", "z", "z", None],
        "s": ["abcd", "", "abc", None],
        "ok": [True, False, None, None],
        "y": [1.0, None, float("inf"), 0.0],
    }
)
MANY_COUNTS = [
    ("x", "missing", 1),
    ("x", "not finite", 1),
    ("x", "below 0", 1),
    ("x", "above 10", 1),
    ("n", "expected integer, found Float64", 4),
    ("c", "missing", 1),
    ("c", "not a known category", 2),
    ("s", "missing", 1),
    ("s", "longer than 3 characters", 1),
    ("ok", "missing", 2),
    ("y", "missing", 1),
    ("y", "not finite", 1),
]


def test_all_faults_of_all_columns_are_found_at_once_in_the_order_of_the_contract():
    found = column_faults(MANY_FAULTS, contract(*FEATURES), "y")
    assert [(fault.column, fault.problem, fault.rows) for fault in found] == MANY_COUNTS


def test_a_fault_in_several_chunks_is_one_line_with_the_sum_of_their_rows():
    check = DataCheck(contract(*FEATURES), "y", DataRules())
    for chunk in MANY_FAULTS.iter_slices(1):
        check.add(chunk)
    with pytest.raises(DataError) as caught:
        check.finish()
    lines = sorted(" ".join(line.split()) for line in caught.value.detail.splitlines()[2:])
    assert lines == sorted(f"{column} {problem} {rows}" for column, problem, rows in MANY_COUNTS)


def test_a_file_without_any_of_the_columns_has_no_faults_in_them():
    """That they are missing is for `missing_columns` to say."""
    assert column_faults(pl.DataFrame({"other": [1, 2]}), contract(*FEATURES), "y") == []


def test_what_the_contract_does_not_name_is_not_looked_at():
    data = pl.DataFrame({"other": [None, None], "x": [1.0, 2.0]})
    assert column_faults(data, contract(*FEATURES), "y") == []
