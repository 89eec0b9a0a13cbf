"""From a probability to a yes or no: the threshold at which mistakes cost least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Costs:
    """What one mistake of each kind costs, in any one unit."""

    false_positive: float
    false_negative: float


@dataclass(frozen=True)
class Decision:
    """What a threshold does to some rows. `cost_of_none` is the cost of always answering no."""

    threshold: float
    true_negatives: int
    false_positives: int
    false_negatives: int
    true_positives: int
    cost_per_row: float
    cost_of_none: float
    cost_of_all: float

    @property
    def precision(self) -> float:
        """Share of true positives among the rows that are answered yes; 0 when none is."""
        return self.true_positives / max(self.true_positives + self.false_positives, 1)

    @property
    def recall(self) -> float:
        """Share of the positive rows that are answered yes; 0 when there is none."""
        return self.true_positives / max(self.true_positives + self.false_negatives, 1)


def cheapest_threshold(truth: np.ndarray, predicted: np.ndarray, costs: Costs) -> float:
    """The threshold t for which answering yes at `predicted >= t` costs least on these rows.

    Choose it on rows that it is not judged by. Above 1 means: never answer yes.

    Args:
        truth: 0 or 1 [n].
        predicted: probabilities [n].
    """
    order = np.argsort(-predicted, kind="stable")
    ranked, labels = predicted[order].astype(np.float64), truth[order].astype(np.int64)
    found, mistaken = np.cumsum(labels), np.cumsum(1 - labels)
    # a threshold takes all rows of one probability or none of them
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    cost = costs.false_positive * mistaken[ends] + costs.false_negative * (found[-1] - found[ends])
    best = int(np.argmin(cost))
    if costs.false_negative * found[-1] <= cost[best]:
        return float(np.nextafter(1.0, 2.0))
    here = float(ranked[ends[best]])
    below = float(ranked[ends[best] + 1]) if ends[best] + 1 < len(ranked) else 0.0
    return (here + below) / 2


def decide(truth: np.ndarray, predicted: np.ndarray, threshold: float, costs: Costs) -> Decision:
    """What `threshold` does to the rows with these labels 0/1 [n] and probabilities [n]."""
    positive, yes = truth.astype(bool), predicted >= threshold
    tn, fp = int(np.sum(~positive & ~yes)), int(np.sum(~positive & yes))
    fn, tp = int(np.sum(positive & ~yes)), int(np.sum(positive & yes))
    rows = max(len(truth), 1)
    return Decision(
        threshold=threshold,
        true_negatives=tn,
        false_positives=fp,
        false_negatives=fn,
        true_positives=tp,
        cost_per_row=(costs.false_positive * fp + costs.false_negative * fn) / rows,
        cost_of_none=costs.false_negative * (fn + tp) / rows,
        cost_of_all=costs.false_positive * (tn + fp) / rows,
    )
