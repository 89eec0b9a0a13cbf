"""A version as the gate asks it: the same answers as in serving, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.errors import ModelRefusedError
from modelyard.scoring.bundle import open_bundle
from modelyard.training.judge.served import ServedModel
from modelyard.training.package.onnx_export import OPSET
from support.serving_app import build_server, snapshot_of

CONTRACT = Contract(
    features=(Feature(name="x", type=FeatureType.NUMBER),), example={"x": 2.0}
)  # fmt: skip


def a_version(
    folder: Path, operator: str = "Neg", input_name: str = "x", kind: int = TensorProto.DOUBLE
) -> Path:
    graph = helper.make_graph(
        [helper.make_node(operator, [input_name], ["prediction"])],
        "graph",
        [helper.make_tensor_value_info(input_name, kind, ["rows"])],
        [helper.make_tensor_value_info("prediction", kind, ["rows"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 10
    return write(folder, model, CONTRACT)


def write(folder: Path, model: onnx.ModelProto, contract: Contract | None) -> Path:
    folder.mkdir(exist_ok=True)
    onnx.save(model, str(folder / "model.onnx"))
    if contract is not None:
        (folder / "contract.yaml").write_text(contract.to_yaml())
    return folder


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as bundles:
        yield bundles


def served(opened: ExitStack, folder: Path) -> ServedModel:
    return ServedModel(opened.enter_context(open_bundle(folder, None)))


def test_rows_of_any_number_are_answered_in_their_order(tmp_path: Path, opened: ExitStack):
    rows = np.arange(20_000.0)  # more than a runner asks for at once
    model = served(opened, a_version(tmp_path))
    assert model.predict({"x": rows}).tolist() == (-rows).tolist()


def test_a_graph_of_another_precision_gets_its_own(tmp_path: Path, opened: ExitStack):
    model = served(opened, a_version(tmp_path, kind=TensorProto.FLOAT))
    assert model.predict({"x": np.array([0.5])}).tolist() == [-0.5]


def test_the_latency_of_one_row_is_measured(tmp_path: Path, opened: ExitStack):
    assert served(opened, a_version(tmp_path)).latency_p99_ms() > 0


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path, opened: ExitStack):
    model = served(opened, a_version(tmp_path, "Log"))
    with pytest.raises(ModelRefusedError, match="no finite number"):
        model.predict({"x": np.array([1.0, -1.0])})


def test_rows_on_which_it_fails_are_a_refusal(tmp_path: Path, opened: ExitStack):
    reshaped = helper.make_graph(
        [helper.make_node("Reshape", ["x", "shape"], ["prediction"])],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["rows"])],
        [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, ["rows"])],
        [helper.make_tensor("shape", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(reshaped, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 10
    version = served(opened, write(tmp_path, model, CONTRACT))
    with pytest.raises(ModelRefusedError, match="fails on these rows"):
        version.predict({"x": np.array([1.0, 2.0])})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "contract.yaml").unlink(), "neither contract.yaml nor an MLflow signature"),
        (lambda f: (f / "model.onnx").unlink(), "no ONNX graphs"),
        (lambda f: (f / "model.onnx").write_bytes(b"none"), "cannot load model.onnx"),
        (lambda f: a_version(f, input_name="z"), "do not fit the contract"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused(
    tmp_path: Path, opened: ExitStack, change, said: str
):
    change(a_version(tmp_path))
    with pytest.raises(ModelRefusedError, match=said):
        served(opened, tmp_path)


def test_data_without_the_models_columns_is_refused(tmp_path: Path, opened: ExitStack):
    model = served(opened, a_version(tmp_path))
    with pytest.raises(ModelRefusedError, match="no column x"):
        model.columns(pl.DataFrame({"y": [1.0]}))
    with pytest.raises(ModelRefusedError, match="do not fit"):
        model.columns(pl.DataFrame({"x": ["a word"]}))


# -- what is judged is what is served -----------------------------------------------------------

TWO = Contract(
    features=tuple(Feature(name=name, type=FeatureType.NUMBER) for name in ("a", "b")),
    output=Output(name="fraud", kind=OutputKind.PROBABILITY),
    example={"a": 0.5, "b": -0.5},
)


def classifier(form: str) -> tuple[onnx.ModelProto, pl.DataFrame, np.ndarray, float]:
    """A classifier exported with the outputs `label, probabilities`; rows, labels, and its AUC."""
    random = np.random.default_rng(3)
    rows = pd.DataFrame(random.normal(size=(600, 2)), columns=["a", "b"])
    labels = (rows["a"] + random.normal(size=600) > 0.4).astype(int).to_numpy()
    columns = ColumnTransformer([("all", "passthrough", ["a", "b"])])
    model: Any = LogisticRegression()
    types = [("input", DoubleTensorType([None, 2]))]
    if form != "one matrix":
        model = make_pipeline(columns, model)
        types = [(name, DoubleTensorType([None, 1])) for name in rows]
    model.fit(rows, labels)
    versions = {"": 18, "ai.onnx.ml": 3}
    graph = to_onnx(model, initial_types=types, options={"zipmap": False}, target_opset=versions)
    if form == "a column [n] a feature":
        flat_inputs(graph)
    assert [output.name for output in graph.graph.output] == ["label", "probabilities"]
    auc = float(roc_auc_score(labels, model.predict_proba(rows)[:, 1]))
    return graph, pl.from_pandas(rows), labels, auc


def flat_inputs(graph: onnx.ModelProto) -> None:
    """Let the graph take [n] for each feature."""
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    graph.graph.initializer.append(axes)
    for value in graph.graph.input:
        for node in graph.graph.node:
            node.input[:] = [f"{value.name}_2d" if n == value.name else n for n in node.input]
        del value.type.tensor_type.shape.dim[1:]
        unsqueeze = helper.make_node("Unsqueeze", [value.name, "axes"], [f"{value.name}_2d"])
        graph.graph.node.insert(0, unsqueeze)


@pytest.mark.parametrize(
    "form", ["one matrix", "a column [n, 1] a feature", "a column [n] a feature"]
)
def test_a_classifier_that_also_answers_labels_is_judged_by_what_serving_answers(
    tmp_path: Path, opened: ExitStack, form: str
):
    """The first output of such a graph are labels: to judge those would make it look worse."""
    graph, rows, labels, auc = classifier(form)
    model = served(opened, write(tmp_path / "version", graph, TWO))
    judged = model.predict(model.columns(rows))
    assert roc_auc_score(labels, judged) == pytest.approx(auc, abs=1e-6)

    (tmp_path / "server").mkdir()
    server = build_server(tmp_path / "server")
    server.holder.replace(snapshot_of(tmp_path / "version"))

    async def ask() -> list[float]:
        async with server.client() as client:
            answer = await client.post("/predict", json=rows.to_dicts())
            return answer.json()["prediction"]

    assert asyncio.run(ask()) == pytest.approx(judged.tolist(), abs=0)
