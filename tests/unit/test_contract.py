"""The contract: what it accepts of a value, and what it accepts of itself."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from modelyard.config import dump_yaml
from modelyard.contract import Contract, Feature, FeatureType, Output
from modelyard.errors import ConfigError, ContractError

AMOUNT = {"name": "amount", "type": "number", "minimum": 0, "maximum": 1_000_000}
HOUR = {"name": "hour", "type": "integer", "minimum": 0, "maximum": 23}
KIND = {"name": "kind", "type": "category", "categories": ["a", "b"]}
OPEN = KIND | {"allow_unknown": True, "max_length": 3}
VALUES: dict[str, Any] = {
    "features": [AMOUNT, HOUR, KIND],
    "output": {"name": "p", "kind": "probability"},
    "example": {"amount": 1.5, "hour": 3, "kind": "a"},
}


def contract(**changes: Any) -> Contract:
    return Contract.model_validate(VALUES | changes)


@pytest.mark.parametrize(
    ("feature", "value", "fault"),
    [
        (AMOUNT, 1, None),
        (AMOUNT, 0.0, None),
        (AMOUNT, 1_000_000, None),
        (AMOUNT, -0.1, "must be at least 0"),
        (AMOUNT, 1_000_001, "must be at most 1000000"),
        (AMOUNT, 10**400, "is too large"),
        (AMOUNT, float("nan"), "must be finite"),
        (AMOUNT, float("inf"), "must be finite"),
        (AMOUNT, True, "must be a number"),
        (AMOUNT, "1", "must be a number"),
        (AMOUNT, None, "must be a number"),
        (AMOUNT, [], "must be a number"),
        ({"name": "x", "type": "number"}, 10**30, None),
        ({"name": "x", "type": "number", "minimum": 0.25}, 0, "must be at least 0.25"),
        ({"name": "x", "type": "number", "maximum": 1e300}, 1e301, "must be at most 1e+300"),
        (HOUR, 23, None),
        (HOUR, 24, "must be at most 23"),
        (HOUR, 3.0, "must be a whole number"),
        (HOUR, False, "must be a whole number"),
        ({"name": "x", "type": "integer"}, 2**63 - 1, None),
        ({"name": "x", "type": "integer"}, 2**63, "is too large"),
        ({"name": "x", "type": "integer"}, -(2**63), None),
        ({"name": "x", "type": "integer"}, -(2**63) - 1, "is too large"),
        ({"name": "x", "type": "integer"}, 10**400, "is too large"),
        (KIND, "a", None),
        (KIND, "c", "must be one of: a, b"),
        (KIND, 1, "must be a string"),
        (
            KIND | {"categories": [f"c{i}" for i in range(32)]},
            "x",
            f"must be one of: {', '.join(f'c{i}' for i in range(30))} and 2 more",
        ),
        (OPEN, "new", None),
        (
            KIND | {"allow_unknown": True, "max_length": 3},
            "newer",
            "must have at most 3 characters",
        ),
        ({"name": "x", "type": "string", "max_length": 2}, "éé", None),
        ({"name": "x", "type": "string", "max_length": 2}, "ééé", "must have at most 2 characters"),
        ({"name": "x", "type": "string"}, "\ud800", "must be valid Unicode text"),
        ({"name": "x", "type": "boolean"}, True, None),
        ({"name": "x", "type": "boolean"}, 1, "must be true or false"),
    ],
)
def test_a_value_is_judged_and_never_quoted(feature, value, fault):
    assert Feature.model_validate(feature).fault(value) == fault


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": []}, "features"),
        ({"features": [AMOUNT, AMOUNT]}, "stands twice"),
        ({"features": [{"name": "a/b", "type": "number"}]}, "features.0.name"),
        ({"features": [KIND | {"categories": []}]}, "lists its categories"),
        ({"features": [KIND | {"categories": ["a", "a"]}]}, "listed twice"),
        ({"features": [AMOUNT | {"categories": ["a"]}]}, "lists its categories"),
        ({"features": [AMOUNT | {"minimum": 2, "maximum": 1}]}, "minimum is above maximum"),
        ({"features": [KIND | {"minimum": 1}]}, "has a range"),
        ({"features": [AMOUNT | {"minimum": float("inf")}]}, "minimum"),
        ({"example": {"amount": 1.5}}, "exactly the features"),
        ({"example": {"amount": -1, "hour": 3, "kind": "a"}}, "example's amount must be at least"),
        ({"output": {"kind": "class_probabilities"}}, "names its classes"),
        ({"output": {"kind": "value", "classes": ["a"]}}, "names its classes"),
        ({"inference_timeout_s": 0}, "inference_timeout_s"),
        ({"python_version": "three"}, "python_version"),
        ({"fetures": []}, 'fetures: no such key. Did you mean "features"?'),
    ],
)
def test_a_contract_that_does_not_hold_together_is_refused(changes, message):
    with pytest.raises(ContractError) as refusal:
        Contract.from_yaml(dump_yaml(VALUES | changes))
    assert message in refusal.value.detail


def test_the_same_contract_is_the_same_text_and_comes_back_from_it():
    assert contract().to_yaml() == contract().to_yaml()
    assert Contract.from_yaml(contract().to_yaml()) == contract()


def test_every_field_is_written_down_also_where_nobody_set_it():
    written = yaml.safe_load(contract().to_yaml())
    assert set(written) == set(Contract.model_fields)
    assert set(written["output"]) == set(Output.model_fields)
    for feature in written["features"]:
        assert set(feature) == set(Feature.model_fields)
    assert (written["inference_timeout_s"], written["python_version"]) == (2.0, None)
    value = yaml.safe_load(contract(output={"name": "minutes"}).to_yaml())
    assert value["output"]["kind"] == "value"


def test_a_contract_of_before_which_says_less_still_holds():
    """What registered versions have: no Python version, and no field that was left at its value."""
    old = Contract.from_yaml(dump_yaml(VALUES))
    assert (old.python_version, old.inference_timeout_s) == (None, 2.0)
    assert old == contract()
    assert old.breaking_changes(contract(python_version="3.11.9")) == []


@pytest.mark.parametrize("text", ["a: [", "- a", "a: 1\na: 2"])
def test_text_that_is_no_mapping_is_refused(text):
    with pytest.raises(ConfigError):
        Contract.from_yaml(text)


def test_features_are_found_by_name_in_their_order():
    assert contract().names == ("amount", "hour", "kind")
    assert contract().feature("hour").type is FeatureType.INTEGER
    with pytest.raises(KeyError):
        contract().feature("minute")


# -- a new contract for old callers --------------------------------------------------------------


def other(*features: dict[str, Any], **output: Any) -> Contract:
    """A contract with these features and this output."""
    examples = {"amount": 1, "hour": 3, "kind": "a", "weight": 2}
    return contract(
        features=list(features),
        example={f["name"]: examples[f["name"]] for f in features},
        output=output or VALUES["output"],
    )


WEIGHT = {"name": "weight", "type": "number"}


@pytest.mark.parametrize(
    ("newer", "breaks"),
    [
        (other(AMOUNT, HOUR, KIND), []),
        (other(KIND, HOUR, AMOUNT), []),
        (other(AMOUNT | {"maximum": 10}, HOUR, KIND | {"categories": ["a"]}), []),
        (other(AMOUNT, {"name": "hour", "type": "number"}, KIND), []),
        (other(AMOUNT, HOUR, {"name": "kind", "type": "string"}), []),
        (other(AMOUNT, HOUR), ["kind is gone"]),
        (other(AMOUNT, HOUR, KIND, WEIGHT), ["weight is new, and required"]),
        (other(AMOUNT | {"type": "integer"}, HOUR, KIND), ["amount was a number and is a integer"]),
        (other(AMOUNT, WEIGHT, KIND), ["hour is gone", "weight is new, and required"]),
        (
            other(AMOUNT, HOUR, KIND, name="p", kind="value"),
            ["it answers a value, no longer a probability"],
        ),
    ],
)
def test_what_breaks_callers_is_named(newer: Contract, breaks: list[str]):
    assert contract().breaking_changes(newer) == breaks


def test_other_classes_break_callers():
    ab, abc = (
        other(AMOUNT, name="p", kind="class_probabilities", classes=list(names))
        for names in ("ab", "abc")
    )
    assert ab.breaking_changes(abc) == ["its classes are not the same"]
    assert ab.breaking_changes(ab) == []
