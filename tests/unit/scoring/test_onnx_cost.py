"""Which graphs may take any time or memory for one row, by the operators and what sizes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import KNNImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, PowerTransformer, StandardScaler
from sklearn.svm import SVC

from modelyard.scoring.onnx.cost import is_decided_by_shapes
from support.models.costly import looping, swelling
from support.models.toy import save_toy_graph

INT, FLOAT, BOOL, TEXT = TensorProto.INT64, TensorProto.FLOAT, TensorProto.BOOL, TensorProto.STRING
Node = onnx.NodeProto
node = helper.make_node


def value(name: str, kind: int = INT, shape: Sequence[Any] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(*nodes: Node, functions: Sequence[onnx.FunctionProto] = ()) -> onnx.ModelProto:
    """Takes `x` of any shape; has the constants one and two."""
    constants = [helper.make_tensor(n, INT, [1], [v]) for n, v in (("one", 1), ("two", 2))]
    graph = helper.make_graph(list(nodes), "g", [value("x")], [value("y")], constants)
    return helper.make_model(graph, functions=list(functions))


def is_cheap(made: onnx.ModelProto, folder: Path) -> bool:
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    return is_decided_by_shapes(folder / "model.onnx")


def body(*nodes: Node, takes: Sequence[str], gives: str) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "b", [value(name) for name in takes], [value(gives)])


def branches(*nodes: Node) -> onnx.GraphProto:
    return body(*nodes, takes=(), gives="out")


def function(*nodes: Node) -> onnx.FunctionProto:
    imports = [helper.make_opsetid("", 20)]
    return helper.make_function("mine", "F", ["a"], ["b"], list(nodes), imports)


SCAN = {"num_scan_inputs": 1}
CHEAP = {
    "sizes that are constants": [node("Expand", ["x", "two"], ["y"])],
    "sizes that are computed from constants": [
        node("Mul", ["two", "two"], ["four"]),
        node("Tile", ["x", "four"], ["y"]),
    ],
    "sizes that are computed from shapes": [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["n"]),
        node("Concat", ["n", "two"], ["size"], axis=0),
        node("ConstantOfShape", ["size"], ["y"]),
    ],
    "sizes that follow from the shape of what a value decided": [
        node("NonZero", ["x"], ["z"]),
        node("Size", ["z"], ["n"]),
        node("ConstantOfShape", ["n"], ["y"]),
    ],
    "the body of a scan": [
        node(
            "Scan", ["one", "x"], ["y"],
            body=body(node("Add", ["a", "b"], ["c"]), takes=("a", "b"), gives="c"), **SCAN,
        )
    ],
    "branches": [
        node("Cast", ["x"], ["c"], to=BOOL),
        node(
            "If", ["c"], ["y"],
            then_branch=branches(node("Add", ["x", "one"], ["out"])),
            else_branch=branches(node("Sub", ["x", "one"], ["out"])),
        ),
    ],
    "a size that constant branches agree on": [
        node("Cast", ["one"], ["c"], to=BOOL),
        node(
            "If", ["c"], ["size"],
            then_branch=branches(node("Identity", ["one"], ["out"])),
            else_branch=branches(node("Identity", ["two"], ["out"])),
        ),
        node("Expand", ["x", "size"], ["y"]),
    ],
    "inputs that are left out": [node("Resize", ["x", "", "", "two"], ["y"])],
}  # fmt: skip
COSTLY = {
    "a loop, also of constant turns": [
        node("Loop", ["two", "", "x"], ["y"], body=body(takes=("i", "c", "a"), gives="a"))
    ],
    "a size that is a value": [node("Expand", ["x", "x"], ["y"])],
    "a size that follows from a value": [
        node("Add", ["x", "one"], ["more"]),
        node("ConstantOfShape", ["more"], ["y"]),
    ],
    "a size within the body of a scan": [
        node(
            "Scan", ["one", "x"], ["y"],
            body=body(node("ConstantOfShape", ["b"], ["c"]), takes=("a", "b"), gives="c"), **SCAN,
        )
    ],
    "a size in a branch that is an input": [
        node("Cast", ["one"], ["c"], to=BOOL),
        node(
            "If", ["c"], ["y"],
            then_branch=branches(node("Identity", ["x"], ["out"])),
            else_branch=branches(node("Tile", ["x", "x"], ["out"])),
        ),
    ],
    "a size that the taken branch decides": [
        node("Cast", ["x"], ["c"], to=BOOL),
        node(
            "If", ["c"], ["size"],
            then_branch=branches(node("Identity", ["one"], ["out"])),
            else_branch=branches(node("Identity", ["two"], ["out"])),
        ),
        node("Expand", ["x", "size"], ["y"]),
    ],
    "a size that is random": [
        node("RandomUniform", [], ["r"], shape=[1]),
        node("Cast", ["r"], ["size"], to=INT),
        node("Expand", ["x", "size"], ["y"]),
    ],
    "text that is split": [node("StringSplit", ["x"], ["y", "n"])],
    "a picture": [node("ImageDecoder", ["x"], ["y"])],
    "an operator that is not known": [node("LoopForEver", ["x"], ["y"])],
    "another domain": [node("Add", ["x", "x"], ["y"], domain="com.example")],
    "a name that is first a constant and then a value": [
        node("Identity", ["x"], ["two"]),
        node("Expand", ["x", "two"], ["y"]),
    ],
    "a depth that is a value": [node("OneHot", ["one", "x", "two"], ["y"])],
    "a pad that is a value": [node("Pad", ["one", "x"], ["y"])],
}  # fmt: skip


@pytest.mark.parametrize("name", CHEAP)
def test_what_shapes_decide_is_cheap(name: str, tmp_path: Path):
    assert is_cheap(model(*CHEAP[name]), tmp_path)


@pytest.mark.parametrize("name", COSTLY)
def test_what_a_value_decides_is_costly(name: str, tmp_path: Path):
    assert not is_cheap(model(*COSTLY[name]), tmp_path)


def test_functions_are_looked_into(tmp_path: Path):
    call = node("F", ["x"], ["y"], domain="mine")
    for inner, cheap in (
        (node("Neg", ["a"], ["b"]), True),
        (node("Range", ["a", "a", "a"], ["b"]), False),
        (node("F", ["a"], ["b"], domain="mine"), False),  # itself
    ):
        assert is_cheap(model(call, functions=[function(inner)]), tmp_path) is cheap
    sized = node("ConstantOfShape", ["a"], ["b"])
    constant = node("F", ["two"], ["y"], domain="mine")
    assert is_cheap(model(constant, functions=[function(sized)]), tmp_path)
    assert not is_cheap(model(call, functions=[function(sized)]), tmp_path)


@pytest.mark.parametrize("graph", [looping, swelling])
def test_graphs_that_a_number_makes_huge_are_costly(graph: Any, tmp_path: Path):
    assert not is_cheap(graph(), tmp_path)


def test_what_is_no_model_is_not_called_cheap(tmp_path: Path):
    path = tmp_path / "model.onnx"
    assert not is_decided_by_shapes(path)
    for data in (b"", b"\xff" * 40, b"\x3a\x7f", b"\x3a\x04\x0a\xff\xff\xff"):
        path.write_bytes(data)
        assert not is_decided_by_shapes(path)
    nested: onnx.GraphProto = branches(node("Identity", ["x"], ["out"]))
    for _ in range(20):
        inner = node("If", ["c"], ["out"], then_branch=nested, else_branch=branches())
        nested = branches(inner)
    deep = node("If", ["c"], ["y"], then_branch=nested, else_branch=branches())
    assert not is_cheap(model(node("Cast", ["x"], ["c"], to=BOOL), deep), tmp_path)


ESTIMATORS = [
    *(LogisticRegression(), RandomForestRegressor(5), GradientBoostingClassifier(n_estimators=3)),
    *(KNeighborsClassifier(), GaussianNB(), SVC(probability=True), MLPClassifier((4,), max_iter=5)),
    *(GaussianProcessRegressor(), make_pipeline(StandardScaler(), PCA(2), LogisticRegression())),
    *(make_pipeline(KNNImputer(), Ridge()), make_pipeline(PolynomialFeatures(), Ridge())),
    make_pipeline(PowerTransformer(), Ridge()),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_converted_pipelines_are_cheap(estimator: Any, tmp_path: Path):
    rows, labels = load_iris(return_X_y=True)
    rows = rows.astype(np.float32)
    assert is_cheap(to_onnx(estimator.fit(rows, labels), rows[:1]), tmp_path)


def test_the_graphs_of_the_tests_are_cheap(tmp_path: Path):
    save_toy_graph(tmp_path / "model.onnx", 1)
    assert is_decided_by_shapes(tmp_path / "model.onnx")
