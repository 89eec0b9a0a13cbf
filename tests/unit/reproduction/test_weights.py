"""Whether two graphs differ, or only their weights, and how far those are apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from modelyard.reproduction.weights import describe_difference


def a_graph(path: Path, weight: float, operator: str = "Add", bias: float = 1.0) -> Path:
    graph = helper.make_graph(
        [
            helper.make_node(operator, ["x", "weight"], ["sum"]),
            helper.make_node("Add", ["sum", "bias"], ["y"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows"])],
        [
            numpy_helper.from_array(np.array([weight], dtype=np.float32), "weight"),
            numpy_helper.from_array(np.array([bias], dtype=np.float32), "bias"),
        ],
    )
    onnx.save(helper.make_model(graph), str(path))
    return path


def test_weights_that_differ_are_counted_and_measured(tmp_path: Path):
    said = describe_difference(a_graph(tmp_path / "a", 1.0), a_graph(tmp_path / "b", 1.5))
    assert said.startswith("the weights differ, 1 of 2 tensors, by at most 0.5 (in weight)")


def test_another_operator_is_another_graph(tmp_path: Path):
    said = describe_difference(a_graph(tmp_path / "a", 1.0), a_graph(tmp_path / "b", 1.0, "Mul"))
    assert said.startswith("the graph itself differs")


def test_the_same_graph_in_other_bytes_is_recognised(tmp_path: Path):
    a, b = a_graph(tmp_path / "a", 1.0), a_graph(tmp_path / "b", 1.0)
    assert describe_difference(a, b).startswith("the same graph and the same weights")
