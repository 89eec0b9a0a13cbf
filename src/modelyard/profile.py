"""The data profile: what features and predictions looked like in training, to notice drift later.

Each version has it as `baseline.json`, after what drift is measured against. The file keeps that
name because registered versions have it; everywhere else, the baseline is the simple model.

    {"format": 1, "rows": …, "features": {NAME: profile}, "predictions": {OUTPUT or CLASS: profile}}

A profile of numbers has `edges` (k + 1, ascending; the outermost are the lowest and highest value)
and `counts` (k). Bins have about equally many rows, or one value each where there are few values.
A profile of strings or booleans has `counts` by value; values beyond the 100 most frequent are
summed under `other`. Features are of the training rows, predictions of the test rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from modelyard.contract import Contract, FeatureType, OutputKind

FILE_NAME = "baseline.json"
_FORMAT = 1
_BINS = 20
_MOST_VALUES = 100
_NUMBERS = (FeatureType.NUMBER, FeatureType.INTEGER)


def profile_text(contract: Contract, train: Mapping[str, np.ndarray], predicted: np.ndarray) -> str:
    """The data profile as JSON, the same bytes for the same values.

    Args:
        train: training rows, feature → [n].
        predicted: predictions for the test rows, [m] or [m, classes].
    """
    features = {
        feature.name: (
            _numbers(train[feature.name])
            if feature.type in _NUMBERS
            else _values(train[feature.name])
        )
        for feature in contract.features
    }
    output = contract.output
    if output.kind is OutputKind.CLASS_PROBABILITIES:
        predictions = {name: _numbers(predicted[:, i]) for i, name in enumerate(output.classes)}
    else:
        predictions = {output.name: _numbers(predicted)}
    rows = len(next(iter(train.values())))
    body = {"format": _FORMAT, "rows": rows, "features": features, "predictions": predictions}
    return json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _numbers(column: np.ndarray) -> dict[str, Any]:
    values = column.astype(np.float64)
    distinct = np.unique(values)
    if len(distinct) <= _BINS:  # one bin a value; the last edge closes the last bin
        edges = np.append(distinct, distinct[-1])
        counts = np.unique(values, return_counts=True)[1]
    else:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, _BINS + 1)))
        counts = np.histogram(values, edges)[0]
    return {
        "kind": "number",
        "rows": len(values),
        "mean": float(values.mean()),
        "deviation": float(values.std()),
        "edges": edges.tolist(),
        "counts": counts.tolist(),
    }


def _values(column: np.ndarray) -> dict[str, Any]:
    words = np.array([str(v).lower() for v in column]) if column.dtype == bool else column
    names, counts = np.unique(words.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    kept = {str(names[i]): int(counts[i]) for i in order[:_MOST_VALUES]}
    other = int(counts[order[_MOST_VALUES:]].sum())
    return {"kind": "value", "rows": len(column), "counts": kept, "other": other}
