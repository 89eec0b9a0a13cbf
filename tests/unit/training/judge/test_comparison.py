"""A drop counts when it is larger than the margin and larger than chance."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.training.judge.comparison import (
    SliceDifferences,
    compare,
    compare_slices,
    primary_metric,
)
from modelyard.training.judge.metrics import PRIMARY_METRIC, evaluate

PROBABILITY = Output(kind=OutputKind.PROBABILITY)
CLASSES = Output(kind=OutputKind.CLASS_PROBABILITIES, classes=("a", "b", "c"))
VALUE = Output(kind=OutputKind.VALUE)


def labels_and_scores(rows: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    signal = random.normal(size=rows)
    truth = (signal + random.normal(size=rows) > 1).astype(np.int64)
    return truth, signal + noise * random.normal(size=rows)


@pytest.fixture
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """For drops that a fifth of the resamples shows as well."""
    monkeypatch.setattr("modelyard.training.judge.comparison._RESAMPLES", 40)


@pytest.mark.parametrize("output", [PROBABILITY, CLASSES, VALUE])
def test_the_primary_metric_is_the_one_that_evaluation_logs(output: Output):
    random = np.random.default_rng(1)
    truth, predicted = random.integers(0, 2, 300), random.random(300)
    if output is CLASSES:
        truth = np.array(output.classes)[random.integers(0, 3, 300)].astype(object)
        predicted = random.dirichlet([1, 1, 1], 300)
    logged = evaluate(output, truth, predicted)[PRIMARY_METRIC[output.kind]]
    assert primary_metric(output, truth, predicted) == pytest.approx(logged)


def test_a_large_drop_on_many_rows_is_worse():
    truth, good = labels_and_scores(5_000, noise=0.0)
    bad = np.random.default_rng(2).normal(size=5_000)
    found = compare(PROBABILITY, truth, bad, good, margin=0.01)
    assert found.gain < -0.2
    assert found.gain_at_most < -0.1
    assert found.is_worse(0.01)
    assert not found.is_worse(0.5)


def test_labels_may_be_truth_values(few_resamples: None):
    truth, good = labels_and_scores(2_000, noise=0.0)
    bad = np.random.default_rng(2).normal(size=2_000)
    assert compare(PROBABILITY, truth == 1, bad, good, margin=0.01).is_worse(0.01)


def test_the_same_drop_on_a_handful_of_rows_is_chance():
    truth, good = labels_and_scores(40, noise=0.0, seed=4)
    slightly_worse = good + 0.3 * np.random.default_rng(5).normal(size=40)
    found = compare(PROBABILITY, truth, slightly_worse, good, margin=0.0)
    assert found.gain < 0
    assert not found.is_worse(0.0)


def test_an_equal_and_a_better_model_are_no_worse():
    truth, scores = labels_and_scores(500, noise=1.0)
    assert not compare(PROBABILITY, truth, scores, scores, margin=0.0).is_worse(0.0)
    better = compare(PROBABILITY, truth, labels_and_scores(500, noise=0.0)[1], scores, margin=0.0)
    assert better.gain > 0
    assert not better.is_worse(0.0)


def test_the_same_rows_give_the_same_verdict(few_resamples: None):
    truth, good = labels_and_scores(800, noise=0.0)
    bad = good + np.random.default_rng(3).normal(size=800)
    assert compare(PROBABILITY, truth, bad, good, 0.0) == compare(PROBABILITY, truth, bad, good, 0)


CONTRACT = Contract(
    features=(
        Feature(name="kind", type=FeatureType.CATEGORY, categories=("x", "y", "rare")),
        Feature(name="hour", type=FeatureType.INTEGER),
        Feature(name="amount", type=FeatureType.NUMBER),
    ),
    output=PROBABILITY,
    example={"kind": "x", "hour": 1, "amount": 1.0},
)


def test_a_slice_in_which_the_model_collapsed_is_found_under_its_name(few_resamples: None):
    truth, good = labels_and_scores(4_000, noise=0.0)
    random = np.random.default_rng(6)
    kind = np.where(np.arange(4_000) % 2, "x", "y").astype(object)
    kind[:30] = "rare"
    columns = {"kind": kind, "hour": random.integers(0, 2, 4_000), "amount": random.random(4_000)}
    bad = np.where(kind == "y", random.normal(size=4_000), good)
    limits = {"margin": 0.1, "min_rows": 100}
    compared = compare_slices(CONTRACT, columns, truth, bad, good, features=None, **limits)
    found = compared.judged
    assert compared.not_judged == 1  # the rare value
    assert set(found) == {"kind=x", "kind=y", "hour=0", "hour=1"}  # no number, no rare value
    worse = [name for name, difference in found.items() if difference.is_worse(0.1)]
    assert "kind=y" in worse
    assert "kind=x" not in worse
    only = compare_slices(CONTRACT, columns, truth, bad, good, features=["hour"], **limits)
    assert set(only.judged) == {"hour=0", "hour=1"}


def test_a_slice_without_enough_rows_of_each_class_is_not_judged():
    columns = {
        "kind": np.array(["x"] * 500, dtype=object),
        "hour": np.arange(500),
        "amount": np.zeros(500),
    }
    truth = np.zeros(500, dtype=np.int64)
    truth[:5] = 1
    scores = np.arange(500.0)
    found = compare_slices(
        CONTRACT, columns, truth, scores, scores, features=None, margin=0.1, min_rows=100
    )
    assert found == SliceDifferences({}, not_judged=1)


def test_a_collapse_is_found_however_many_categories_there_are(few_resamples: None):
    """The last of eighty by name, which has more rows than any other."""
    names = [f"shop-{number:02}" for number in range(80)]
    contract = Contract(
        features=(Feature(name="shop", type=FeatureType.CATEGORY, categories=tuple(names)),),
        output=PROBABILITY,
        example={"shop": "shop-00"},
    )
    truth, good = labels_and_scores(20_000, noise=0.0)
    random = np.random.default_rng(8)
    shop = np.array(names, dtype=object)[random.integers(0, 80, 20_000)]
    shop[:2_000], shop[2_000:2_010] = "shop-79", "shop-78"
    bad = np.where(shop == "shop-79", random.normal(size=20_000), good)
    limits = {"features": None, "margin": 0.1, "min_rows": 100}
    found = compare_slices(contract, {"shop": shop}, truth, bad, good, **limits)
    assert len(found.judged) + found.not_judged == 80
    assert [name for name, d in found.judged.items() if d.is_worse(0.1)] == ["shop=shop-79"]
    few = compare_slices(contract, {"shop": shop}, truth, bad, good, **limits | {"min_rows": 500})
    assert (set(few.judged), few.not_judged) == ({"shop=shop-79"}, 79)
