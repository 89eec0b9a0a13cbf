"""Scores on held-out rows: their intervals, slices, threshold, pictures and the page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.training.experiment import EvaluationConfig
from modelyard.training.judge.metrics import evaluate
from modelyard.training.judge.report import bootstrap
from modelyard.training.judge.report.bootstrap import intervals
from modelyard.training.judge.report.evaluation import BASELINE, BEST, HeldOut, evaluate_model
from modelyard.training.judge.report.page import page
from modelyard.training.judge.report.slices import slice_scores
from modelyard.training.judge.report.threshold import Costs, cheapest_threshold, decide

ROWS = 2_000
RANDOM = np.random.default_rng(1)
FEATURES = (
    Feature(name="x", type=FeatureType.NUMBER),
    Feature(name="c", type=FeatureType.CATEGORY, categories=("a", "b")),
    Feature(name="n", type=FeatureType.INTEGER),
)
COLUMNS = {
    "x": RANDOM.random(ROWS),
    "c": np.array(["a", "b"], dtype=object)[RANDOM.integers(0, 2, ROWS)],
    "n": RANDOM.integers(0, 3, ROWS),
}
LABELS = (RANDOM.random(ROWS) < COLUMNS["x"]).astype(np.int64)
PROBABILITY = Output(name="probability", kind=OutputKind.PROBABILITY)


def contract(output: Output) -> Contract:
    return Contract(features=FEATURES, output=output, example={"x": 0.5, "c": "a", "n": 1})


@pytest.mark.parametrize("rows", [500, 500 * 4])
def test_the_interval_of_an_accuracy_is_the_binomial_one(
    monkeypatch: pytest.MonkeyPatch, rows: int
):
    """Of a share the spread is known: sqrt(p (1 - p) / n), also where resamples are smaller."""
    monkeypatch.setattr(bootstrap, "MAX_ROWS", 500)
    output = Output(kind=OutputKind.CLASS_PROBABILITIES, classes=("p", "q"))
    right = np.arange(rows) % 10 < 8
    predicted = np.where(right[:, None], [[1.0, 0.0]], [[0.0, 1.0]])
    found = intervals(output, np.zeros(rows, np.int64), {"test": predicted}, 300, 7)
    spread = 1.96 * np.sqrt(0.8 * 0.2 / rows)
    assert found["test_accuracy"].low == pytest.approx(0.8 - spread, abs=spread / 3)
    assert found["test_accuracy"].high == pytest.approx(0.8 + spread, abs=spread / 3)


def test_the_difference_of_two_models_is_known_better_than_their_scores():
    noisy = np.clip(COLUMNS["x"] + RANDOM.normal(0, 0.05, ROWS), 0, 1)
    found = intervals(PROBABILITY, LABELS, {"test": COLUMNS["x"], "baseline": noisy}, 100, 7)
    own, both = found["test_roc_auc"], found["test_minus_baseline_roc_auc"]
    assert both.high - both.low < (own.high - own.low) / 3


def test_no_resamples_give_no_intervals_and_a_seed_gives_the_same():
    scored = {"test": COLUMNS["x"]}
    assert intervals(PROBABILITY, LABELS, scored, 0, 7) == {}
    assert intervals(PROBABILITY, LABELS, scored, 5, 7) == intervals(
        PROBABILITY, LABELS, scored, 5, 7
    )


def test_a_slice_is_scored_by_its_own_rows():
    features = ["c", "n", "x"]
    slices, left_out = slice_scores(contract(PROBABILITY), COLUMNS, LABELS, COLUMNS["x"], features)
    assert left_out == {}
    assert [(s.feature, s.value) for s in slices[:5]] == [
        ("c", "a"), ("c", "b"), ("n", "0"), ("n", "1"), ("n", "2"),
    ]  # fmt: skip
    assert len(slices) == 5 + 4  # numbers with many values in quarters
    for feature, value in (("c", "a"), ("n", 2)):
        rows = COLUMNS[feature] == value
        (found,) = (s for s in slices if (s.feature, s.value) == (feature, str(value)))
        assert found.rows == rows.sum()
        assert found.metrics == evaluate(PROBABILITY, LABELS[rows], COLUMNS["x"][rows])
        assert found.mean_truth == pytest.approx(LABELS[rows].mean())
    quarters = [s.rows for s in slices[5:]]
    assert sum(quarters) == ROWS and max(quarters) - min(quarters) <= 1


def test_a_slice_with_too_little_to_judge_by_has_no_scores():
    labels = np.where(COLUMNS["n"] == 0, 1, LABELS)
    slices, _ = slice_scores(contract(PROBABILITY), COLUMNS, labels, COLUMNS["x"], ["n"])
    assert [bool(s.metrics) for s in slices] == [False, True, True]


def test_of_many_categories_those_with_the_most_rows_are_scored_and_the_rest_is_counted():
    names = [f"c{number:03}" for number in range(60)]
    many = Contract(
        features=(Feature(name="c", type=FeatureType.CATEGORY, categories=tuple(names)),),
        output=PROBABILITY,
        example={"c": "c000"},
    )
    # as many rows of each as its number says: the last by name are the largest
    column = np.repeat(np.array(names, dtype=object), np.arange(60) + 1)
    RANDOM.shuffle(column)
    truth = RANDOM.integers(0, 2, len(column))
    predicted = RANDOM.random(len(column))
    columns = {"c": column}
    slices, left_out = slice_scores(many, columns, truth, predicted)
    assert [s.value for s in slices] == names[10:]
    assert [s.rows for s in slices] == list(range(11, 61))
    assert left_out == {"c": 10}
    held = HeldOut(columns, truth, predicted)
    config = EvaluationConfig(bootstrap_resamples=0)
    evaluation = evaluate_model(many, held, held, {BASELINE: predicted}, config, seed=7)
    assert "c has 10 more values" in page("t", "d", evaluation, {}, {})


@pytest.mark.parametrize("costs", [Costs(1, 1), Costs(5, 150), Costs(100, 1), Costs(0, 1)])
def test_no_other_threshold_costs_less(costs: Costs):
    predicted = np.round(COLUMNS["x"], 2)
    best = cheapest_threshold(LABELS, predicted, costs)
    cost = decide(LABELS, predicted, best, costs).cost_per_row
    for other in np.linspace(0, 1.01, 102):
        assert cost <= decide(LABELS, predicted, other, costs).cost_per_row + 1e-12
    assert cost <= min(
        decide(LABELS, predicted, best, costs).cost_of_none,
        decide(LABELS, predicted, best, costs).cost_of_all,
    )


def test_where_a_yes_never_pays_the_threshold_lies_above_one():
    costs = Costs(false_positive=1e9, false_negative=1)
    threshold = cheapest_threshold(np.array([0, 1, 0]), np.array([0.9, 0.5, 1.0]), costs)
    assert threshold > 1


@pytest.mark.parametrize(
    ("output", "labels", "predicted", "pictures"),
    [
        (
            PROBABILITY,
            LABELS,
            COLUMNS["x"].astype(np.float32),
            {"roc.png", "precision-recall.png", "calibration.png", "confusion.png"},
        ),
        (
            Output(kind=OutputKind.CLASS_PROBABILITIES, classes=("no", "yes")),
            np.array(["no", "yes"])[LABELS],
            np.stack([1 - COLUMNS["x"], COLUMNS["x"]], axis=1),
            {"confusion.png", "calibration.png"},
        ),
        (
            Output(kind=OutputKind.VALUE),
            3 * COLUMNS["x"],
            3 * COLUMNS["x"] + RANDOM.normal(0, 0.1, ROWS),
            {"predicted-true.png", "errors.png"},
        ),
    ],
)
def test_every_kind_of_output_gets_its_page(
    output: Output, labels: np.ndarray, predicted: np.ndarray, pictures: set[str], tmp_path: Path
):
    half = ROWS // 2
    parts = [
        HeldOut({k: v[rows] for k, v in COLUMNS.items()}, labels[rows], predicted[rows])
        for rows in (slice(0, half), slice(half, ROWS))
    ]
    others = {BASELINE: predicted[half:][::-1], BEST: predicted[half:]}
    config = EvaluationConfig(bootstrap_resamples=20, slices=("c", "n"))
    evaluation = evaluate_model(contract(output), *parts, others, config, seed=7)
    evaluation.write(tmp_path)
    assert set(evaluation.plots) == pictures
    assert all((tmp_path / "plots" / name).read_bytes()[1:4] == b"PNG" for name in pictures)
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert written["scores"] == dict(evaluation.scores)
    assert f"test_{evaluation.primary}_low" in evaluation.metrics
    assert "better than the baseline" in evaluation.against_baseline()
    html = page("<title>", "described", evaluation, {"run": "r"}, {"seed": 7})
    assert "&lt;title&gt;" in html and "<title><" not in html
    assert html.count("data:image/png;base64,") == len(pictures)
    assert "http" not in html  # self-contained
