"""Scores of predictions on held-out rows, by what the contract's output means."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn import metrics

from modelyard.contract import Output, OutputKind

PRIMARY_METRIC: Mapping[OutputKind, str] = {
    OutputKind.PROBABILITY: "roc_auc",
    OutputKind.CLASS_PROBABILITIES: "accuracy",
    OutputKind.VALUE: "r2",
}
"""The one number, higher is better, by which two models of a kind are compared."""


def evaluate(output: Output, truth: np.ndarray, predicted: np.ndarray) -> Mapping[str, float]:
    """Metric name → value.

    Args:
        truth: labels [n]: 0/1 for a probability, class index or name for classes, else values.
        predicted: [n], or [n, classes] for class probabilities.
    """
    match output.kind:
        case OutputKind.PROBABILITY:
            return {
                "roc_auc": float(metrics.roc_auc_score(truth, predicted)),
                "average_precision": float(metrics.average_precision_score(truth, predicted)),
                "log_loss": float(
                    metrics.log_loss(truth, predicted.astype(np.float64), labels=[0, 1])
                ),
                "brier": float(metrics.brier_score_loss(truth, predicted)),
            }
        case OutputKind.CLASS_PROBABILITIES:
            index, guess = class_index(output.classes, truth), predicted.argmax(axis=1)
            labels = list(range(len(output.classes)))
            return {
                "accuracy": float(metrics.accuracy_score(index, guess)),
                "f1_macro": float(metrics.f1_score(index, guess, average="macro")),
                "log_loss": float(metrics.log_loss(index, predicted, labels=labels)),
            }
        case OutputKind.VALUE:
            return {
                "r2": float(metrics.r2_score(truth, predicted)),
                "mean_absolute_error": float(metrics.mean_absolute_error(truth, predicted)),
                "root_mean_squared_error": float(metrics.root_mean_squared_error(truth, predicted)),
            }


def class_index(classes: tuple[str, ...], truth: np.ndarray) -> np.ndarray:
    """Labels [n], names or indices of `classes`, as indices int64 [n]."""
    if truth.dtype.kind in "OSUT":
        place = {name: index for index, name in enumerate(classes)}
        return np.array([place[label] for label in truth], dtype=np.int64)
    return truth.astype(np.int64)
