"""Two models on the same rows: the primary metric, whether a drop is chance, and each slice.

`metrics.PRIMARY_METRIC` names the metric for each kind of output; higher is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from modelyard.contract import Contract, FeatureType, Output, OutputKind
from modelyard.scoring.column import Columns
from modelyard.training.judge.metrics import class_index
from modelyard.training.judge.report.slices import group_rows

_RESAMPLES = 200
_CONFIDENCE_PERCENT = 97.5  # one end of a two-sided 95 % interval
_MIN_OF_A_CLASS = 10
_FEW_VALUES = 48


@dataclass(frozen=True)
class Difference:
    """One metric of two models on the same rows.

    `gain_at_most` is the upper end of the gain's 95 % interval over paired resamples of the rows;
    it is computed only for a drop beyond the margin, and infinite otherwise.
    """

    rows: int
    candidate: float
    reference: float
    gain_at_most: float = math.inf

    @property
    def gain(self) -> float:
        """The candidate's metric minus the reference's; negative is a drop."""
        return self.candidate - self.reference

    def is_worse(self, margin: float) -> bool:
        """Whether the drop is larger than `margin` and than chance."""
        return not self.gain >= -margin and not self.gain_at_most >= 0


@dataclass(frozen=True)
class SliceDifferences:
    """The two models in parts of the rows.

    Attributes:
        judged: `feature=value` → the difference there.
        not_judged: how many values have too few rows, or too few of a class, to be judged.
    """

    judged: Mapping[str, Difference]
    not_judged: int = 0


def primary_metric(output: Output, truth: np.ndarray, predicted: np.ndarray) -> float:
    """The primary metric of `predicted`; arguments as of `evaluate`."""
    match output.kind:
        case OutputKind.PROBABILITY:
            return float(metrics.roc_auc_score(truth, predicted))
        case OutputKind.CLASS_PROBABILITIES:
            return float(np.mean(class_index(output.classes, truth) == predicted.argmax(axis=1)))
        case OutputKind.VALUE:
            return float(metrics.r2_score(truth, predicted))


def compare(
    output: Output, truth: np.ndarray, candidate: np.ndarray, reference: np.ndarray, margin: float
) -> Difference:
    """The primary metric of two models' predictions for the same rows.

    Args:
        margin: how large a drop has to be before its resamples are drawn.
    """
    found = Difference(
        len(truth),
        primary_metric(output, truth, candidate),
        primary_metric(output, truth, reference),
    )
    if found.gain >= -margin:
        return found
    random = np.random.Generator(np.random.PCG64(len(truth)))  # the same verdict for the same rows
    gains = []
    for _ in range(_RESAMPLES):
        drawn = random.integers(0, len(truth), len(truth))
        if output.kind is OutputKind.PROBABILITY and len(np.unique(truth[drawn])) == 1:
            continue
        of_candidate = primary_metric(output, truth[drawn], candidate[drawn])
        gains.append(of_candidate - primary_metric(output, truth[drawn], reference[drawn]))
    upper = float(np.percentile(gains, _CONFIDENCE_PERCENT)) if gains else math.inf
    return Difference(found.rows, found.candidate, found.reference, upper)


def compare_slices(
    contract: Contract,
    columns: Columns,
    truth: np.ndarray,
    candidate: np.ndarray,
    reference: np.ndarray,
    *,
    features: Sequence[str] | None,
    margin: float,
    min_rows: int,
) -> SliceDifferences:
    """The two models in every slice that has enough rows to be judged.

    Args:
        features: whose values are slices; None for all categories, booleans and integers of few
            values, such as an hour.
    """
    found: dict[str, Difference] = {}
    not_judged = 0
    for feature in contract.features:
        column = columns[feature.name]
        if features is not None:
            is_wanted = feature.name in features
        elif feature.type is FeatureType.INTEGER:
            is_wanted = len(np.unique(column)) <= _FEW_VALUES
        else:
            is_wanted = feature.type in (FeatureType.CATEGORY, FeatureType.BOOLEAN)
        if not is_wanted:
            continue
        groups = group_rows(feature, column, at_least=min_rows)
        not_judged += groups.left_out
        for value, here in groups.rows.items():
            if len(here) >= min_rows and _can_be_judged(contract.output, truth[here]):
                found[f"{feature.name}={value}"] = compare(
                    contract.output, truth[here], candidate[here], reference[here], margin
                )
            else:
                not_judged += 1
    return SliceDifferences(found, not_judged)


def _can_be_judged(output: Output, truth: np.ndarray) -> bool:
    """A rank metric needs some rows of each class; a variance needs values that differ."""
    if output.kind is OutputKind.PROBABILITY:
        return bool(min((truth == 0).sum(), (truth == 1).sum()) >= _MIN_OF_A_CLASS)
    return output.kind is not OutputKind.VALUE or bool(np.ptp(truth) > 0)
