"""Small scikit-learn pipelines on rows of four kinds of features, fitted to each kind of output."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.training.package.sklearn_model import SklearnModel, feature_table

ROWS = 4_000
RANDOM = np.random.default_rng(3)
COLUMNS = {
    "amount": RANDOM.lognormal(3, 1, ROWS),
    "hour": RANDOM.integers(0, 24, ROWS),
    "kind": RANDOM.choice(["a", "b", "c"], ROWS).astype(object),
    "ok": RANDOM.random(ROWS) < 0.5,
}
SCORE = np.log(COLUMNS["amount"]) - 3 + (COLUMNS["kind"] == "a")
FEATURES = (
    Feature(name="amount", type=FeatureType.NUMBER),
    Feature(name="hour", type=FeatureType.INTEGER),
    Feature(name="kind", type=FeatureType.CATEGORY, categories=("a", "b", "c")),
    Feature(name="ok", type=FeatureType.BOOLEAN),
)
OUTPUTS = {
    OutputKind.PROBABILITY: Output(name="p", kind=OutputKind.PROBABILITY),
    OutputKind.CLASS_PROBABILITIES: Output(
        name="p", kind=OutputKind.CLASS_PROBABILITIES, classes=("mid", "low", "high")
    ),
    OutputKind.VALUE: Output(name="minutes", kind=OutputKind.VALUE),
}
LABELS = {
    OutputKind.PROBABILITY: (RANDOM.random(ROWS) < 1 / (1 + np.exp(-SCORE))).astype(int),
    OutputKind.CLASS_PROBABILITIES: np.array(["low", "mid", "high"])[np.digitize(SCORE, [-0.5, 1])],
    OutputKind.VALUE: 300 * SCORE,
}
TRAIN, TEST = slice(0, 1_500), slice(1_500, ROWS)


def contract(kind: OutputKind) -> Contract:
    example = {"amount": 1.5, "hour": 3, "kind": "a", "ok": True}
    return Contract(features=FEATURES, output=OUTPUTS[kind], example=example)


def rows(part: slice) -> dict[str, np.ndarray]:
    return {name: column[part] for name, column in COLUMNS.items()}


def fitted(kind: OutputKind, estimator: Any, scaler: Any = None) -> SklearnModel:
    before = ColumnTransformer(
        [
            ("numbers", scaler or StandardScaler(), ["amount", "hour"]),
            ("kinds", OneHotEncoder(handle_unknown="ignore"), ["kind"]),
            ("flags", "passthrough", ["ok"]),
        ]
    )
    table = feature_table(rows(TRAIN), contract(kind))
    pipeline = make_pipeline(before, estimator).fit(table, LABELS[kind][TRAIN])
    return SklearnModel(pipeline, contract(kind))
