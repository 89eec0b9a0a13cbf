"""scikit-learn pipelines: compiled where a graph agrees with them, else packaged as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from modelyard.contract import Contract, OutputKind
from modelyard.errors import ContractError, TrainingError
from modelyard.registry.manifest import read_manifest, verify_files
from modelyard.scoring.bundle import open_bundle
from modelyard.training.package.export import export_model
from modelyard.training.package.sklearn_model import SklearnModel, feature_table
from support.models.pipelines import FEATURES, OUTPUTS, ROWS, TEST, contract, fitted, rows


@pytest.mark.parametrize(
    ("kind", "estimator", "largest"),
    [
        (OutputKind.PROBABILITY, LogisticRegression(), 1e-7),
        (OutputKind.PROBABILITY, RandomForestClassifier(20, random_state=0), 1e-6),
        (OutputKind.PROBABILITY, GradientBoostingClassifier(n_estimators=20), 1e-6),
        (OutputKind.CLASS_PROBABILITIES, LogisticRegression(), 1e-7),
        (OutputKind.CLASS_PROBABILITIES, RandomForestClassifier(10, random_state=0), 1e-6),
        (OutputKind.VALUE, LinearRegression(), 1e-7),
        (OutputKind.VALUE, RandomForestRegressor(10, random_state=0), 1e-6),
    ],
)
def test_a_compiled_pipeline_answers_as_the_original_and_is_a_whole_version(
    kind: OutputKind, estimator: Any, largest: float, tmp_path: Path
):
    model = fitted(kind, estimator)
    expected = model.predict(rows(TEST))
    export = export_model(model, contract(kind), rows(TEST), expected)
    assert export.format == "onnx", export.sentence()
    assert export.difference < largest
    again = export_model(model, contract(kind), rows(TEST), expected)
    assert again.graph.SerializeToString() == export.graph.SerializeToString()

    folder = tmp_path / "model"
    digest = export.write(folder, contract(kind), run_id="r", model_id="m-1", profile="{}")
    verify_files(folder, read_manifest(folder, digest) or {})
    with open_bundle(folder, None) as bundle:
        assert bundle.runner.predict(rows(TEST)) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_thresholds_that_no_float32_can_hold_are_still_exact():
    """A forest asked at its own thresholds, and one float32 beside them."""
    one = Contract(features=FEATURES[:1], output=OUTPUTS[OutputKind.VALUE], example={"amount": 1.0})
    amount = (
        np.float64(1) + np.arange(2_000) * 2e-7
    )  # neighbours in float32: the threshold between is none
    labels = np.sin(np.arange(2_000))
    forest = RandomForestRegressor(20, random_state=0)
    forest.fit(feature_table({"amount": amount}, one), labels)
    thresholds = np.concatenate(
        [t.tree_.threshold[t.tree_.feature >= 0] for t in forest.estimators_]
    )
    near = thresholds.astype(np.float32)
    asked = np.concatenate(
        [near, np.nextafter(near, np.inf), np.nextafter(near, -np.inf), thresholds]
    )
    columns = {"amount": asked.astype(np.float64)}
    model = SklearnModel(forest, one)
    assert export_model(model, one, columns, model.predict(columns)).difference < 1e-6


def test_what_can_be_written_in_no_way_is_refused(tmp_path: Path):
    model = fitted(
        OutputKind.PROBABILITY, LogisticRegression(), FunctionTransformer(lambda x: x + 1)
    )
    export = export_model(
        model, contract(OutputKind.PROBABILITY), rows(TEST), model.predict(rows(TEST))
    )
    with pytest.raises(TrainingError, match="neither as ONNX nor as skops"):
        export.write(
            tmp_path / "model", contract(OutputKind.PROBABILITY),
            run_id="r", model_id="m", profile="",
        )  # fmt: skip


def test_classes_in_another_order_than_the_contract_need_a_graph():
    kind = OutputKind.CLASS_PROBABILITIES
    model = fitted(kind, HistGradientBoostingClassifier(max_iter=3))
    with pytest.raises(TrainingError, match="another order"):
        export_model(model, contract(kind), rows(TEST), model.predict(rows(TEST)))


def test_classes_that_are_not_the_contracts_are_refused():
    kind = OutputKind.CLASS_PROBABILITIES
    pipeline = fitted(OutputKind.PROBABILITY, LogisticRegression()).pipeline
    with pytest.raises(ContractError, match="the classifier knows 0, 1"):
        SklearnModel(pipeline, contract(kind))


def test_a_model_that_cannot_be_exported_is_refused():
    class Bare:
        def predict(self, columns):  # noqa: ARG002
            return np.zeros(ROWS)

    with pytest.raises(TrainingError, match="a Bare, which cannot be exported"):
        export_model(Bare(), contract(OutputKind.VALUE), rows(TEST), np.zeros(ROWS))
