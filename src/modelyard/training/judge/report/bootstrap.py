"""How far scores would move on other test rows: percentile bootstrap, 95 %.

All models are scored on the same resampled rows, so the difference between two of them gets an
interval of its own, narrower than their two intervals suggest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from modelyard.contract import Output
from modelyard.training.judge.metrics import evaluate

MAX_ROWS = 20_000
"""Rows of one resample. With more test rows each resample has this many and the spread is scaled
by the square root of the ratio (m out of n bootstrap): time stays bounded, intervals stay right."""

_OUTSIDE = 2.5  # percent on each side


@dataclass(frozen=True)
class Interval:
    """Where a score lies with 95 % confidence."""

    low: float
    high: float


def intervals(
    output: Output,
    truth: np.ndarray,
    scored: Mapping[str, np.ndarray],
    resamples: int,
    seed: int,
) -> Mapping[str, Interval]:
    """`{who}_{metric}` → interval, and `{first}_minus_{who}_{metric}` for all but the first.

    Args:
        truth: labels [n].
        scored: who → predictions [n] or [n, classes].
        resamples: how many times rows are drawn; none give no intervals.
    """
    if not resamples:
        return {}
    random = np.random.default_rng(seed)
    rows, drawn = len(truth), min(len(truth), MAX_ROWS)
    names = list(scored)
    samples: dict[str, list[float]] = {}
    for _ in range(resamples):
        index = random.integers(0, rows, drawn)
        if output.classes or len(np.unique(truth[index])) > 1:
            scores = {who: evaluate(output, truth[index], scored[who][index]) for who in names}
            for who in names:
                for metric, value in scores[who].items():
                    samples.setdefault(f"{who}_{metric}", []).append(value)
                    if who != names[0]:
                        pair = f"{names[0]}_minus_{who}_{metric}"
                        samples.setdefault(pair, []).append(scores[names[0]][metric] - value)
    shrink = math.sqrt(drawn / rows)
    found: dict[str, Interval] = {}
    for name, values in samples.items():
        centre = float(np.median(values))
        low, high = np.percentile(values, [_OUTSIDE, 100 - _OUTSIDE])
        found[name] = Interval(centre + shrink * (low - centre), centre + shrink * (high - centre))
    return found
