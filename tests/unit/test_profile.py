"""The data profile says what features and predictions looked like."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.profile import profile_text

CONTRACT = Contract(
    features=(
        Feature(name="x", type=FeatureType.NUMBER),
        Feature(name="n", type=FeatureType.INTEGER),
        Feature(name="c", type=FeatureType.CATEGORY, categories=("a", "é")),
        Feature(name="ok", type=FeatureType.BOOLEAN),
    ),
    example={"x": 1, "n": 1, "c": "a", "ok": True},
)
COLUMNS = {
    "x": np.linspace(0, 1, 1_000),
    "n": np.array([1, 2] * 500),
    "c": np.array(["a", "a", "é", "a"] * 250, dtype=object),
    "ok": np.array([True, False] * 500),
}


def test_numbers_are_counted_in_equal_bins_and_values_by_name():
    profile = json.loads(profile_text(CONTRACT, COLUMNS, np.zeros(5)))
    assert profile["rows"] == 1_000
    x, n, c, ok = (profile["features"][name] for name in CONTRACT.names)
    assert (len(x["edges"]), x["edges"][0], x["edges"][-1]) == (21, 0, 1)
    assert set(x["counts"]) == {50}
    assert x["mean"] == pytest.approx(0.5)
    assert (n["edges"], n["counts"]) == ([1, 2, 2], [500, 500])
    assert (c["counts"], c["other"]) == ({"a": 750, "é": 250}, 0)
    assert ok["counts"] == {"true": 500, "false": 500}
    assert profile["predictions"]["prediction"]["counts"] == [5]


def test_each_class_has_its_own_distribution():
    output = Output(kind=OutputKind.CLASS_PROBABILITIES, classes=("p", "q"))
    contract = CONTRACT.model_copy(update={"output": output})
    profile = json.loads(profile_text(contract, COLUMNS, np.array([[0.2, 0.8], [0.4, 0.6]])))
    assert profile["predictions"]["p"]["mean"] == pytest.approx(0.3)
    assert profile["predictions"]["q"]["rows"] == 2


def test_rare_values_are_counted_together():
    words = np.array([f"w{i:03}" for i in range(150)], dtype=object)
    columns = {name: column[:150] for name, column in COLUMNS.items()} | {"c": words}
    profile = json.loads(profile_text(CONTRACT, columns, np.zeros(5)))
    assert len(profile["features"]["c"]["counts"]) == 100
    assert profile["features"]["c"]["other"] == 50


def test_the_same_values_give_the_same_bytes():
    assert profile_text(CONTRACT, COLUMNS, np.ones(3)) == profile_text(
        CONTRACT, dict(reversed(COLUMNS.items())), np.ones(3)
    )
