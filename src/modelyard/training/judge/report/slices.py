"""Scores in parts of the test set: a model may do well on the whole and fail where it matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.contract import Contract, Feature, FeatureType, OutputKind
from modelyard.scoring.column import Columns
from modelyard.training.judge.metrics import evaluate

_MIN_ROWS = 20
MOST_VALUES = 50
"""Values of a feature that the report scores one by one."""
_QUANTILES = 4


@dataclass(frozen=True)
class Slice:
    """One part of the test set. `metrics` is empty where there are too few rows."""

    feature: str
    value: str
    rows: int
    mean_truth: float | None
    mean_predicted: float | None
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RowGroups:
    """The test rows, grouped by the values of one feature.

    Attributes:
        rows: name of a group → the numbers of its rows, ascending.
        left_out: how many more values the rows have: those with the fewest rows.
    """

    rows: Mapping[str, np.ndarray]
    left_out: int = 0


def slice_scores(
    contract: Contract,
    columns: Columns,
    truth: np.ndarray,
    predicted: np.ndarray,
    features: Sequence[str] | None = None,
) -> tuple[list[Slice], Mapping[str, int]]:
    """Scores for each value of `features`; numbers with many values are cut into quarters.

    The second result is, for features of which only the most frequent values are scored: feature →
    how many of its values are left out.

    Args:
        columns: test rows, feature → [n].
        truth: labels [n].
        predicted: [n], or [n, classes].
        features: names; every category and boolean when None.
    """
    if features is None:
        kinds = (FeatureType.CATEGORY, FeatureType.BOOLEAN)
        features = [feature.name for feature in contract.features if feature.type in kinds]
    found, left_out = [], {}
    for name in features:
        groups = group_rows(contract.feature(name), columns[name], most=MOST_VALUES)
        if groups.left_out:
            left_out[name] = groups.left_out
        for value, rows in groups.rows.items():
            found.append(_score(contract, name, value, truth[rows], predicted[rows]))
    return found, left_out


def group_rows(
    feature: Feature, column: np.ndarray, *, most: int | None = None, at_least: int = 1
) -> RowGroups:
    """The rows by value, or by quarter where a number has many values.

    Args:
        column: the feature [n].
        most: how many values at most, those with the most rows first; all when None.
        at_least: rows that a value must have.
    """
    values, codes, counts = np.unique(
        column.astype(str) if column.dtype == object else column,
        return_inverse=True,
        return_counts=True,
    )
    if len(values) > MOST_VALUES and feature.type in (FeatureType.NUMBER, FeatureType.INTEGER):
        edges = np.unique(np.quantile(column, np.linspace(0, 1, _QUANTILES + 1)))
        part = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, len(edges) - 2)
        return RowGroups(
            {
                f"{edges[index]:.6g} to {edges[index + 1]:.6g}": np.flatnonzero(part == index)
                for index in range(len(edges) - 1)
            }
        )
    # the most rows first, then by name
    chosen = np.argsort(-counts, kind="stable")[:most]
    chosen = np.sort(chosen[counts[chosen] >= at_least])
    ends = np.cumsum(counts)
    order = np.argsort(codes, kind="stable")
    rows = {str(values[i]): order[ends[i] - counts[i] : ends[i]] for i in chosen}
    return RowGroups(rows, len(values) - len(chosen))


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
