"""Scores in parts of the test set: a model may do well on the whole and fail where it matters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.contract import Contract, Feature, FeatureType, OutputKind
from modelyard.training.check import check_features
from modelyard.training.evaluate import evaluate
from modelyard.training.project import Columns

_MIN_ROWS = 20
_MOST_VALUES = 50
_QUANTILES = 4


@dataclass(frozen=True)
class Slice:
    """One part of the test set. `metrics` is empty where there is too little to judge by."""

    feature: str
    value: str
    rows: int
    mean_truth: float | None
    mean_predicted: float | None
    metrics: Mapping[str, float]


def slice_scores(
    contract: Contract,
    columns: Columns,
    truth: np.ndarray,
    predicted: np.ndarray,
    features: Sequence[str] | None = None,
) -> list[Slice]:
    """Scores for each value of each of `features`; numbers with many values are cut in quarters.

    Args:
        columns: test rows, feature → [n].
        truth: labels [n].
        predicted: [n], or [n, classes].
        features: names; every category and boolean when None.

    Raises:
        ConfigError: a name that is no feature.
    """
    if features is None:
        kinds = (FeatureType.CATEGORY, FeatureType.BOOLEAN)
        features = [feature.name for feature in contract.features if feature.type in kinds]
    found = []
    check_features(contract, features)
    for name in features:
        for value, rows in parts(contract.feature(name), columns[name]):
            found.append(_score(contract, name, value, truth[rows], predicted[rows]))
    return found


def parts(feature: Feature, column: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Name and mask [n] of each part of the rows: a value, or a quarter of a wide range."""
    values = np.unique(column.astype(str) if column.dtype == object else column)
    if len(values) <= _MOST_VALUES or feature.type in (FeatureType.CATEGORY, FeatureType.STRING):
        for value in values[:_MOST_VALUES]:
            yield str(value), column == value
        return
    edges = np.unique(np.quantile(column, np.linspace(0, 1, _QUANTILES + 1)))
    part = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, len(edges) - 2)
    for index in range(len(edges) - 1):
        yield f"{edges[index]:.6g} to {edges[index + 1]:.6g}", part == index


def _score(
    contract: Contract, feature: str, value: str, truth: np.ndarray, predicted: np.ndarray
) -> Slice:
    output = contract.output
    of_classes = output.kind is OutputKind.CLASS_PROBABILITIES
    enough = len(truth) >= _MIN_ROWS and (of_classes or len(np.unique(truth)) > 1)
    return Slice(
        feature=feature,
        value=value,
        rows=len(truth),
        mean_truth=None if of_classes else float(np.mean(truth, dtype=np.float64)),
        mean_predicted=None if of_classes else float(np.mean(predicted, dtype=np.float64)),
        metrics=evaluate(output, truth, predicted) if enough else {},
    )
