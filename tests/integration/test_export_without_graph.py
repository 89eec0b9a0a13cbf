"""A scikit-learn pipeline without a graph answers in a child, and in MLflow, as it was fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from modelyard.contract import OutputKind
from modelyard.registry.manifest import read_manifest
from modelyard.scoring.bundle import open_bundle
from modelyard.scoring.child.opening import ChildOptions
from modelyard.training.package.export import export_model
from modelyard.training.package.sklearn_model import feature_table
from support.models.pipelines import TEST, contract, fitted, rows


@pytest.mark.parametrize(
    ("kind", "estimator", "scaler"),
    [
        (OutputKind.PROBABILITY, HistGradientBoostingClassifier(max_iter=10), None),
        (OutputKind.VALUE, HistGradientBoostingRegressor(max_iter=10), None),
        (OutputKind.PROBABILITY, LogisticRegression(), FunctionTransformer(np.log1p)),
    ],
)
def test_a_pipeline_that_has_no_graph_is_packaged_as_it_is_and_that_is_said(
    kind: OutputKind, estimator: Any, scaler: Any, tmp_path: Path
):
    model = fitted(kind, estimator, scaler)
    expected = model.predict(rows(TEST))
    export = export_model(model, contract(kind), rows(TEST), expected)
    assert export.format == "sklearn"
    assert "as it is" in export.sentence()
    assert "cannot be written as an ONNX graph" in export.sentence()

    folder = tmp_path / "model"
    digest = export.write(folder, contract(kind), run_id="r", model_id="m-1", profile="{}")
    manifest = read_manifest(folder, digest) or {}
    assert {"contract.yaml", "baseline.json", "model.skops", "MLmodel"} <= set(manifest)
    assert not [name for name in manifest if name.endswith((".pkl", ".pickle"))]
    with open_bundle(folder, ChildOptions.offline()) as bundle:
        assert bundle.runner.predict(rows(TEST)) == pytest.approx(expected)
    answer = mlflow.pyfunc.load_model(str(folder)).predict(
        feature_table(rows(TEST), contract(kind))
    )
    answer = answer if kind is OutputKind.VALUE else answer[:, 1]
    assert answer == pytest.approx(expected)
