"""Which graphs may take any time or memory for one row, by the operators and what sizes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from modelyard.scoring.onnx.cost import unbounded_cost
from modelyard.scoring.onnx.protobuf import message
from support.models import graphs
from support.models.graphs import circular_trees
from support.models.toy import toy_graph

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
    return unbounded_cost(folder / "model.onnx") == ""


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
    "sizes that follow from the shape of what a value decided": [
        node("NonZero", ["x"], ["z"]),
        node("Size", ["z"], ["n"]),
        node("ConstantOfShape", ["n"], ["y"]),
    ],
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


def test_what_is_no_model_is_not_called_cheap(tmp_path: Path):
    path = tmp_path / "model.onnx"
    assert unbounded_cost(path)
    for data in (b"", b"\xff" * 40, b"\x3a\x7f", b"\x3a\x04\x0a\xff\xff\xff"):
        path.write_bytes(data)
        assert unbounded_cost(path)
    nested: onnx.GraphProto = branches(node("Identity", ["x"], ["out"]))
    for _ in range(20):
        inner = node("If", ["c"], ["out"], then_branch=nested, else_branch=branches())
        nested = branches(inner)
    deep = node("If", ["c"], ["y"], then_branch=nested, else_branch=branches())
    assert not is_cheap(model(node("Cast", ["x"], ["c"], to=BOOL), deep), tmp_path)


def test_trees_of_another_order_are_bounded_when_they_end(tmp_path: Path):
    made = circular_trees()
    trees = next(n for n in made.graph.node if n.op_type == "TreeEnsembleRegressor")
    links = next(a for a in trees.attribute if a.name == "nodes_truenodeids")
    links.ints[4] = 5
    assert unbounded_cost(graphs.save(lambda: made, tmp_path / "model.onnx")) == ""


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + message(7, b""),  # a second graph, which protobuf joins to the first
        lambda data: b"\xba\x80\x80\x80\x10" + data[1:],  # a tag that protobuf cuts to 32 bits
        lambda data: data[:-3],
        lambda data: b"",
        lambda data: b"\x00" * 64,
        lambda data: b"ORTM" * 16,
    ],
)
def test_a_file_that_others_may_read_otherwise_is_not_trusted(tmp_path: Path, change):
    path = tmp_path / "model.onnx"
    path.write_bytes(change(toy_graph(1).SerializeToString()))
    assert unbounded_cost(path)


def test_functions_that_call_each_other_over_and_over_end(tmp_path: Path):
    made = graphs.model(node("F0", ["amount"], ["answer"], domain="mine"))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    made.opset_import.append(opsets[1])
    for number in range(12):
        calls = [node(f"F{number + 1}", ["x"], [f"y{n}"], domain="mine") for n in range(10)]
        made.functions.append(
            helper.make_function("mine", f"F{number}", ["x"], ["y0"], calls, opsets)
        )
    last = [node("Identity", ["x"], ["y0"])]
    made.functions.append(helper.make_function("mine", "F12", ["x"], ["y0"], last, opsets))
    assert "too large" in unbounded_cost(graphs.save(lambda: made, tmp_path / "model.onnx"))


def test_graphs_in_graphs_end(tmp_path: Path):
    inner = model(node("Identity", ["amount"], ["answer"])).graph
    flag = helper.make_tensor("flag", onnx.TensorProto.BOOL, [], [True])
    for _ in range(40):
        branch = onnx.GraphProto()
        branch.CopyFrom(inner)
        del branch.input[:]
        choice = node("If", ["flag"], ["answer"], then_branch=branch, else_branch=branch)
        inner = helper.make_graph([choice], "g", [], list(branch.output), [flag])
        if len(inner.SerializeToString()) > 2**22:
            break
    made = graphs.model(node("Identity", ["amount"], ["answer"]))
    made.graph.CopyFrom(inner)
    assert unbounded_cost(graphs.save(lambda: made, tmp_path / "model.onnx"))
