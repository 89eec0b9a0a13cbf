"""A dataset that breaks its contract is refused with a line for each fault."""

from __future__ import annotations

import polars as pl
import pytest

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.errors import DataError
from modelyard.training.data.validate import (
    seen_categories,
    unseen_categories,
    validate_data,
    validate_split,
)
from modelyard.training.project import DataRules, Split

FEATURES = (
    Feature(name="x", type=FeatureType.NUMBER, minimum=0, maximum=10),
    Feature(name="n", type=FeatureType.INTEGER),
    Feature(name="c", type=FeatureType.CATEGORY, categories=("a", "b")),
    Feature(name="s", type=FeatureType.STRING, max_length=3),
    Feature(name="ok", type=FeatureType.BOOLEAN),
)
EXAMPLE = {"x": 1, "n": 1, "c": "a", "s": "", "ok": True}
CONTRACT = Contract(
    features=FEATURES, example=EXAMPLE, output=Output(kind=OutputKind.PROBABILITY)
)  # fmt: skip
RULES = DataRules(row_key=("id",), split_key=("id",), label_rate=(0.2, 0.8))
GOOD = {
    "id": [1, 2],
    "x": [1.0, 2.0],
    "n": [1, 2],
    "c": ["a", "b"],
    "s": ["", "abc"],
    "ok": [True, False],
    "y": [0, 1],
}


def refused(data: dict, contract: Contract = CONTRACT, rules: DataRules = RULES) -> list[str]:
    """Lines of the table, blanks squeezed."""
    with pytest.raises(DataError) as caught:
        validate_data(pl.DataFrame(data, strict=False), contract, "y", rules)
    return [" ".join(line.split()) for line in caught.value.detail.splitlines()]


def test_good_data_passes():
    validate_data(pl.DataFrame(GOOD), CONTRACT, "y", RULES)
    validate_data(pl.DataFrame(GOOD), CONTRACT, "y")


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("x", [1.0, None], "x missing 1"),
        ("x", [1.0, float("nan")], "x not finite 1"),
        ("x", [1.0, float("inf")], "x not finite 1"),
        ("x", [-1.0, 2.0], "x below 0 1"),
        ("x", [11.0, 12.0], "x above 10 2"),
        ("x", ["1", "2"], "x expected number, found String 2"),
        ("n", [1.0, 2.0], "n expected integer, found Float64 2"),
        ("c", ["a", "z"], "c not a known category 1"),
        ("c", ["a", None], "c missing 1"),
        ("s", ["a", "abcd"], "s longer than 3 characters 1"),
        ("ok", [1, 0], "ok expected boolean, found Int64 2"),
        ("y", [1, 1], "y has one and the same value 2"),
        ("y", [0, None], "y missing 1"),
        ("y", [0, 2], "y neither 0 nor 1 1"),
        ("y", ["no", "yes"], "y expected 0 and 1, found String 2"),
        ("id", [7, 7], "id rows share what must name one row 2"),
    ],
)
def test_each_fault_is_counted(column: str, values: list, said: str):
    assert said in refused({**GOOD, column: values})


def test_one_bad_value_is_one_fault():
    """A NaN is neither below nor above; a null is missing and nothing else."""
    assert len(refused({**GOOD, "x": [1.0, float("nan")]})) == 3
    assert len(refused({**GOOD, "c": ["a", None]})) == 3


def test_whole_numbers_may_stand_for_numbers():
    validate_data(pl.DataFrame({**GOOD, "x": [1, 2]}), CONTRACT, "y", RULES)


def test_an_unknown_category_passes_where_the_contract_allows_it():
    features = [
        feature.model_copy(update={"allow_unknown": True}) if feature.name == "c" else feature
        for feature in FEATURES
    ]
    contract = CONTRACT.model_copy(update={"features": tuple(features)})
    validate_data(pl.DataFrame({**GOOD, "c": ["a", "new"]}), contract, "y", RULES)


@pytest.mark.parametrize(
    ("output", "labels", "said"),
    [
        (Output(kind=OutputKind.VALUE), [1.0, float("inf")], "y not finite 1"),
        (Output(kind=OutputKind.VALUE), ["1", "2"], "y expected number, found String 2"),
        (
            Output(kind=OutputKind.CLASS_PROBABILITIES, classes=("p", "q")),
            ["p", "r"],
            "y not a class of the contract 1",
        ),
        (
            Output(kind=OutputKind.CLASS_PROBABILITIES, classes=("p", "q")),
            [0, 2],
            "y not a class of the contract 1",
        ),
    ],
)
def test_labels_mean_what_the_contract_says(output: Output, labels: list, said: str):
    contract = CONTRACT.model_copy(update={"output": output})
    assert said in refused({**GOOD, "y": labels}, contract)


def test_a_label_rate_outside_its_bounds_is_refused():
    rules = DataRules(label_rate=(0.0, 0.1))
    assert "y label rate 50.00%, expected 0.00% to 10.00% 1" in refused(GOOD, rules=rules)


def test_a_renamed_column_is_missing_and_its_new_name_is_guessed():
    data = {("xx" if name == "x" else name): values for name, values in GOOD.items()}
    assert 'x the column is missing. Did you mean "xx"? 2' in refused(data)


def test_all_faults_are_named_at_once_and_missing_columns_too():
    lines = refused({"x": [-1.0, 1.0], "c": ["z", "a"]})
    assert "column problem rows of 2" in lines
    for said in (
        "x below 0 1",
        "n the column is missing. 2",
        "c not a known category 1",
        "y the target column is missing. 2",
        "id the column is missing. 2",
    ):
        assert said in lines


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="no rows"):
        validate_data(pl.DataFrame(GOOD).clear(), CONTRACT, "y")


def part(ids: list[int], labels: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"id": ids, "c": ["a"] * len(ids), "y": labels})


def test_a_key_in_two_parts_is_counted():
    split = Split(part([1, 2], [0, 1]), part([2, 3], [0, 1]), part([1, 2, 4], [0, 1, 1]))
    with pytest.raises(DataError) as caught:
        validate_split(split, 7, CONTRACT, "y", RULES)
    lines = [" ".join(line.split()) for line in caught.value.detail.splitlines()]
    assert "id rows of validation whose key is in train, too 1" in lines
    assert "id rows of test whose key is in train, too 2" in lines
    assert "id rows of test whose key is in validation, too 1" in lines


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (part([5], [1]).clear(), "test the part has no rows 0"),
        (part([5, 6], [1, 1]), "test has one class only in y 2"),
    ],
)
def test_a_part_that_cannot_judge_is_refused(test: pl.DataFrame, said: str):
    split = Split(part([1, 2], [0, 1]), part([3, 4], [0, 1]), test)
    with pytest.raises(DataError) as caught:
        validate_split(split, 4 + len(test), CONTRACT, "y", RULES)
    assert said in [" ".join(line.split()) for line in caught.value.detail.splitlines()]


@pytest.mark.parametrize("rules", [RULES, DataRules(row_key=("id",)), DataRules()])
@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (9, "all parts rows of the dataset are in no part 3"),
        (4, "all parts more rows than the dataset has 2"),
    ],
)
def test_parts_that_are_not_the_dataset_divided_are_refused(rows: int, said: str, rules: DataRules):
    split = Split(part([1, 2], [0, 1]), part([3, 4], [0, 1]), part([5, 6], [0, 1]))
    with pytest.raises(DataError) as caught:
        validate_split(split, rows, CONTRACT, "y", rules)
    lines = [" ".join(line.split()) for line in caught.value.detail.splitlines()]
    assert lines[1:] == [f"column problem rows of {rows}", said]
    validate_split(split, 6, CONTRACT, "y", rules)


def test_a_row_in_two_parts_is_found_also_when_another_is_missing_and_no_split_key_is_given():
    split = Split(part([1, 2], [0, 1]), part([3, 4], [0, 1]), part([2, 6], [0, 1]))
    with pytest.raises(DataError) as caught:
        validate_split(split, 6, CONTRACT, "y", DataRules(row_key=("id",)))
    lines = [" ".join(line.split()) for line in caught.value.detail.splitlines()]
    assert lines[2:] == ["id rows of test whose key is in train, too 1"]


def test_a_category_that_training_never_saw_is_said():
    assert unseen_categories(CONTRACT, seen_categories(CONTRACT, part([1], [0]))) == [
        "c: no training row has b"
    ]
