"""Whole graphs, each of which onnxruntime runs: the costly ones are found, exports stay inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, PowerTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from modelyard.scoring.onnx.cost import unbounded_cost
from support.models.graphs import BOUNDED, UNBOUNDED, model, node, save

ESTIMATORS = [
    LinearRegression(), make_pipeline(StandardScaler(), PCA(2), LogisticRegression()),
    make_pipeline(SimpleImputer(), MinMaxScaler(), PolynomialFeatures(2), Ridge()),
    RandomForestClassifier(10), ExtraTreesRegressor(5), GradientBoostingClassifier(n_estimators=5),
    DecisionTreeClassifier(), KNeighborsClassifier(), SVC(probability=True), GaussianNB(),
    MLPClassifier(max_iter=10), GaussianProcessRegressor(), CalibratedClassifierCV(GaussianNB()),
    IsolationForest(n_estimators=3),
    StackingClassifier([("a", LogisticRegression())]),
    make_pipeline(PowerTransformer(), Ridge()),
]  # fmt: skip


@pytest.mark.parametrize("make", UNBOUNDED.values(), ids=UNBOUNDED)
def test_what_a_value_decides_is_found(tmp_path: Path, make):
    assert unbounded_cost(save(make, tmp_path / "model.onnx"))


@pytest.mark.parametrize("make", BOUNDED.values(), ids=BOUNDED)
def test_what_only_a_shape_decides_is_not(tmp_path: Path, make):
    path = save(make, tmp_path / "model.onnx")
    assert unbounded_cost(path) == ""
    session = ort.InferenceSession(path)
    assert session.run(None, {"amount": np.array([1.0, 2.0])})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_graphs_of_scikit_learn_are_bounded(tmp_path: Path, estimator):
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    estimator.fit(rows, rows[:, 0] + rows[:, 1] > 0)
    graph = to_onnx(estimator, rows[:1], target_opset={"": 20, "ai.onnx.ml": 3})
    onnx.save(graph, tmp_path / "model.onnx")
    assert unbounded_cost(tmp_path / "model.onnx") == ""


def test_what_a_scan_carries_cannot_grow(tmp_path: Path):
    """Scans count as bounded for that: else each row might double what the one before left."""
    body = helper.make_graph(
        [node("Concat", ["held", "held"], ["twice"], axis=0), node("Identity", ["each"], ["same"])],
        "body",
        [
            helper.make_tensor_value_info(name, TensorProto.DOUBLE, None)
            for name in ("held", "each")
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.DOUBLE, None)
            for name in ("twice", "same")
        ],
    )
    made = model(
        node("Cast", ["amount"], ["is some"], to=TensorProto.BOOL),
        node("Compress", ["amount", "is some"], ["some"], axis=0),
        node("Scan", ["some", "amount"], ["grown", "answer"], body=body, num_scan_inputs=1),
    )
    session = ort.InferenceSession(save(lambda: made, tmp_path / "model.onnx"))
    with pytest.raises(Exception, match="Scan node"):
        session.run(None, {"amount": np.ones(3)})
