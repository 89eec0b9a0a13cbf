"""Plots of held-out predictions, as PNG; drawn without pyplot, which keeps global state."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn import metrics
from sklearn.calibration import calibration_curve

from modelyard.contract import Output, OutputKind
from modelyard.training.judge.metrics import class_index

_DPI = 90
_MOST_POINTS = 5_000
_CALIBRATION_BINS = 10
_RED, _GREY = "#c44", "#999"


def draw(
    output: Output,
    truth: np.ndarray,
    scored: Mapping[str, np.ndarray],
    threshold: float | None = None,
) -> Mapping[str, bytes]:
    """File name → PNG.

    Args:
        truth: labels [n].
        scored: who → predictions; the first is the model, which alone gets a confusion matrix.
        threshold: of the confusion matrix, for a probability.
    """
    match output.kind:
        case OutputKind.PROBABILITY:
            figures = _of_probability(truth, scored, 0.5 if threshold is None else threshold)
        case OutputKind.CLASS_PROBABILITIES:
            figures = _of_classes(output, truth, next(iter(scored.values())))
        case OutputKind.VALUE:
            figures = _of_value(truth, next(iter(scored.values())))
    pictures: dict[str, bytes] = {}
    for name, figure in figures.items():
        target = io.BytesIO()
        figure.savefig(target, format="png", dpi=_DPI)
        pictures[f"{name}.png"] = target.getvalue()
    return pictures


def _of_probability(
    truth: np.ndarray, scored: Mapping[str, np.ndarray], threshold: float
) -> dict[str, Figure]:
    roc, roc_axes = _figure("ROC", "false positive rate", "true positive rate")
    pr, pr_axes = _figure("Precision and recall", "recall", "precision")
    calibration, calibration_axes = _figure("Calibration", "predicted", "observed share")
    for who, predicted in scored.items():
        x, y, _ = metrics.roc_curve(truth, predicted)
        roc_axes.plot(x, y, label=f"{who}, area {metrics.auc(x, y):.3f}")
        precision, recall, _ = metrics.precision_recall_curve(truth, predicted)
        average = metrics.average_precision_score(truth, predicted)
        pr_axes.plot(recall, precision, label=f"{who}, average {average:.3f}")
        clipped = np.clip(predicted.astype(np.float64), 0, 1)
        observed, mean = calibration_curve(
            truth, clipped, n_bins=_CALIBRATION_BINS, strategy="quantile"
        )
        calibration_axes.plot(mean, observed, marker="o", markersize=3, label=who)
    roc_axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":")
    limit = float(max(calibration_axes.get_xlim()[1], calibration_axes.get_ylim()[1]))
    calibration_axes.plot([0, limit], [0, limit], color=_GREY, linestyle=":")
    for axes in (roc_axes, pr_axes, calibration_axes):
        axes.legend(fontsize=8)
    first = next(iter(scored.values()))
    table = metrics.confusion_matrix(truth, first >= threshold, labels=[0, 1])
    confusion = _confusion(table, ("no", "yes"), f"At threshold {threshold:.3g}")
    return {"roc": roc, "precision-recall": pr, "calibration": calibration, "confusion": confusion}


def _of_classes(output: Output, truth: np.ndarray, predicted: np.ndarray) -> dict[str, Figure]:
    index, guess = class_index(output.classes, truth), predicted.argmax(axis=1)
    table = metrics.confusion_matrix(index, guess, labels=list(range(len(output.classes))))
    calibration, axes = _figure("Calibration of the guess", "predicted", "observed share")
    sure = np.clip(predicted.max(axis=1).astype(np.float64), 0, 1)
    observed, mean = calibration_curve(
        guess == index, sure, n_bins=_CALIBRATION_BINS, strategy="quantile"
    )
    axes.plot(mean, observed, marker="o")
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle=":")
    return {"confusion": _confusion(table, output.classes, "Classes"), "calibration": calibration}


def _of_value(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Figure]:
    step = max(len(truth) // _MOST_POINTS, 1)
    truth, predicted = truth[::step], predicted[::step]
    scatter, axes = _figure("Predicted and true", "true", "predicted")
    axes.scatter(truth, predicted, s=4, alpha=0.4)
    ends = [float(truth.min()), float(truth.max())]
    axes.plot(ends, ends, color=_RED, linewidth=1)
    residuals, residual_axes = _figure("Errors", "predicted - true", "rows")
    residual_axes.hist(predicted - truth, bins=50)
    return {"predicted-true": scatter, "errors": residuals}


def _confusion(table: np.ndarray, names: tuple[str, ...], title: str) -> Figure:
    figure, axes = _figure(title, "predicted", "true")
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=30, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    for (row, column), count in np.ndenumerate(table):
        dark = share[row, column] > 0.5  # noqa: PLR2004 - half
        colour = "white" if dark else "black"
        axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize=8)
    return figure


def _figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(4.4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    return figure, axes
