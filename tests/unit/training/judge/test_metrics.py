"""Scores, checked against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelyard.contract import Output, OutputKind
from modelyard.training.judge.metrics import PRIMARY_METRIC, evaluate


def test_probability():
    scores = evaluate(
        Output(kind=OutputKind.PROBABILITY), np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9])
    )
    assert scores["roc_auc"] == pytest.approx(0.75)
    assert scores["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert scores["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert scores["log_loss"] == pytest.approx(-(2 * math.log(0.9) + 2 * math.log(0.4)) / 4)


@pytest.mark.parametrize("truth", [np.array([0, 1, 2]), np.array(["a", "b", "c"])])
def test_class_probabilities(truth: np.ndarray):
    output = Output(kind=OutputKind.CLASS_PROBABILITIES, classes=("a", "b", "c"))
    predicted = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    scores = evaluate(output, truth, predicted)
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["log_loss"] == pytest.approx(-(2 * math.log(0.8) + math.log(0.3)) / 3)


def test_value():
    scores = evaluate(Output(), np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0]))
    assert scores["mean_absolute_error"] == pytest.approx(2 / 3)
    assert scores["root_mean_squared_error"] == pytest.approx(math.sqrt(4 / 3))
    assert scores["r2"] == pytest.approx(1 - 4 / 2)


def test_every_kind_has_its_primary_metric():
    assert set(PRIMARY_METRIC) == set(OutputKind)
