"""A version's folder as the gate runs it: what is opened, what is refused, in which batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper

from modelyard.contract import Contract, Feature, FeatureType
from modelyard.errors import ModelRefusedError
from modelyard.training.judge import served
from modelyard.training.judge.served import open_model
from modelyard.training.package.onnx_export import OPSET

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
    onnx.save(model, str(folder / "model.onnx"))
    (folder / "contract.yaml").write_text(CONTRACT.to_yaml())
    return folder


def test_rows_in_several_batches_are_answered_as_in_one(tmp_path: Path, monkeypatch):
    model = open_model(a_version(tmp_path))
    rows = np.arange(10.0)
    monkeypatch.setattr(served, "_ROWS_AT_ONCE", 3)
    assert model.predict({"x": rows}).tolist() == (-rows).tolist()


def test_a_graph_of_another_precision_gets_its_own(tmp_path: Path):
    model = open_model(a_version(tmp_path, kind=TensorProto.FLOAT))
    assert model.predict({"x": np.array([0.5])}).tolist() == [-0.5]


def test_the_latency_of_one_row_is_measured(tmp_path: Path):
    assert 0 < open_model(a_version(tmp_path)).latency_p99_ms() < 1_000


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path):
    model = open_model(a_version(tmp_path, "Log"))
    with pytest.raises(ModelRefusedError, match="no finite number"):
        model.predict({"x": np.array([1.0, -1.0])})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "contract.yaml").unlink(), "It has no contract.yaml"),
        (lambda f: (f / "model.onnx").unlink(), "neither"),
        (lambda f: (f / "model.onnx").write_bytes(b"none"), "onnxruntime cannot load"),
        (lambda f: a_version(f, input_name="z"), "not the features of its contract"),
    ],
)
def test_a_folder_that_is_no_whole_model_is_refused(tmp_path: Path, change, said: str):
    change(a_version(tmp_path))
    with pytest.raises(ModelRefusedError, match=said):
        open_model(tmp_path)


def test_data_without_the_models_columns_is_refused(tmp_path: Path):
    model = open_model(a_version(tmp_path))
    with pytest.raises(ModelRefusedError, match="no column x"):
        model.columns(pl.DataFrame({"y": [1.0]}))
    with pytest.raises(ModelRefusedError, match="do not fit"):
        model.columns(pl.DataFrame({"x": ["a word"]}))
