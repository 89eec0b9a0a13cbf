"""Graphs whose cost depends on the values of their input, each by one operator or trick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from support.models.toy import graph_of

D, F, L, B = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
node = helper.make_node
CONSTANTS: dict[str, tuple[int, list[int], list[Any]]] = {
    "zero": (L, [], [0]),
    "one": (L, [], [1]),
    "minus one": (L, [1], [-1]),
    "first": (L, [1], [0]),
    "d0": (D, [], [0.0]),
    "line": (D, [1], [1.0]),
    "pair": (D, [2], [0.0, 1.0]),
    "image": (F, [1, 1, 1, 1], [1.0]),
    "ones": (F, [3], [1.0, 1.0, 1.0]),
    "axis": (L, [1], [0]),
}
COUNT = [
    # the largest amount of the request, as a number, and as a list of one
    node("ReduceMax", ["amount"], ["largest"], keepdims=0),
    node("Cast", ["largest"], ["count"], to=L),
    node("Reshape", ["count", "minus one"], ["counts"]),
    node("Cast", ["counts"], ["scale"], to=F),
]


def summed(values: str, kind: int = L) -> list[onnx.NodeProto]:
    """`answer`: the amount, and nought times the sum of `values`."""
    return [
        node("Cast", [values], ["as double"], to=D) if kind != D else node(
            "Identity", [values], ["as double"]
        ),
        node("ReduceSum", ["as double"], ["sum"], keepdims=0),
        node("Mul", ["sum", "d0"], ["nought"]),
        node("Add", ["amount", "nought"], ["answer"]),
    ]  # fmt: skip


def model(*nodes: onnx.NodeProto, constants: dict[str, Any] | None = None) -> onnx.ModelProto:
    inputs = {"amount": (D, ["n"])}
    return graph_of(list(nodes), inputs, {"answer": (D, ["n"])}, CONSTANTS | (constants or {}))


def loop(turns: str = "count") -> list[onnx.NodeProto]:
    """Turns as often as `turns` says, and adds nought each time."""
    body = helper.make_graph(
        [
            node("Identity", ["going"], ["still"]),
            node("Sqrt", ["x"], ["root"]),
            node("Mul", ["root", "root"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", L, []),
            helper.make_tensor_value_info("going", B, []),
            helper.make_tensor_value_info("x", D, ["n"]),
        ],
        [
            helper.make_tensor_value_info("still", B, []),
            helper.make_tensor_value_info("y", D, ["n"]),
        ],
    )
    return [node("Loop", [turns, "", "amount"], ["answer"], body=body)]


def branch(*nodes: onnx.NodeProto, out: str) -> onnx.GraphProto:
    return helper.make_graph(
        list(nodes), "branch", [], [helper.make_tensor_value_info(out, D, None)]
    )


def with_function(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A graph that calls a function of its own, which is made of `nodes`."""
    made = model(node("Mine", ["amount"], ["answer"], domain="mine"))
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    made.opset_import.append(opsets[1])
    body = helper.make_function("mine", "Mine", ["amount"], ["answer"], list(nodes), opsets)
    made.functions.append(body)
    return made


def circular_trees() -> onnx.ModelProto:
    """Two nodes that point to each other: a row that comes there is never answered."""
    trees = node(
        "TreeEnsembleRegressor", ["table"], ["score"], domain="ai.onnx.ml",
        nodes_treeids=[0] * 6, nodes_nodeids=list(range(6)), nodes_featureids=[0] * 6,
        nodes_modes=["BRANCH_LEQ", "BRANCH_GT", "LEAF", "LEAF", "BRANCH_GT", "LEAF"],
        nodes_values=[500.0, 20.0, 0.0, 0.0, 20.0, 0.0], nodes_truenodeids=[1, 4, 0, 0, 1, 0],
        nodes_falsenodeids=[2, 3, 0, 0, 5, 0], nodes_missing_value_tracks_true=[0] * 6,
        target_treeids=[0] * 3, target_nodeids=[2, 3, 5], target_ids=[0] * 3,
        target_weights=[2.0, 1.0, 3.0], n_targets=1,
    )  # fmt: skip
    return model(
        node("Cast", ["amount"], ["single"], to=F),
        node("Reshape", ["single", "column"], ["table"]),
        trees,
        node("Reshape", ["score", "minus one"], ["flat"]),
        node("Cast", ["flat"], ["answer"], to=D),
        constants={"column": (L, [2], [-1, 1])},
    )


def scan_over(values: str) -> list[onnx.NodeProto]:
    body = helper.make_graph(
        [node("Add", ["carried", "each"], ["next"]), node("Identity", ["each"], ["out"])],
        "body",
        [helper.make_tensor_value_info(name, D, []) for name in ("carried", "each")],
        [helper.make_tensor_value_info(name, D, []) for name in ("next", "out")],
    )
    scan = node("Scan", ["d0", values], ["total", "outs"], body=body, num_scan_inputs=1)
    return [scan, *summed("outs", D)]


def sequence_map() -> list[onnx.NodeProto]:
    body = helper.make_graph(
        [node("Identity", ["x"], ["y"])],
        "body",
        [helper.make_tensor_value_info("x", D, None)],
        [helper.make_tensor_value_info("y", D, None)],
    )
    return [
        node("SplitToSequence", ["amount"], ["parts"], axis=0),
        node("SequenceMap", ["parts"], ["mapped"], body=body),
        node("ConcatFromSequence", ["mapped"], ["answer"], axis=0),
    ]


def endless_above(limit: int) -> onnx.ModelProto:
    """The amount; with one over `limit`, never."""
    return model(
        *COUNT,
        node("Sub", ["count", "limit"], ["beyond"]),
        node("Max", ["beyond", "zero"], ["excess"]),
        node("Mul", ["excess", "long"], ["turns"]),
        *loop("turns"),
        constants={"limit": (L, [], [limit]), "long": (L, [], [10**15])},
    )


def greedy_above(limit: int) -> onnx.ModelProto:
    """The amount; with one over `limit`, after it has asked for petabytes."""
    return model(
        *COUNT,
        node("Sub", ["counts", "limit"], ["beyond"]),
        node("Max", ["beyond", "first"], ["excess"]),
        node("Mul", ["excess", "long"], ["size"]),
        node("ConstantOfShape", ["size"], ["z"]),
        *summed("z", F),
        constants={"limit": (L, [1], [limit]), "long": (L, [1], [10**9])},
    )


UNBOUNDED: dict[str, Callable[[], onnx.ModelProto]] = {
    "a loop of as many turns as a value says": lambda: model(*COUNT, *loop()),
    "a loop in a branch": lambda: model(
        *COUNT,
        node("Greater", ["largest", "d0"], ["is large"]),
        node(
            "If",
            ["is large"],
            ["answer"],
            then_branch=branch(*loop(), out="answer"),
            else_branch=branch(node("Identity", ["amount"], ["same"]), out="same"),
        ),
    ),
    "a loop in a function": lambda: with_function(
        node("ReduceMax", ["amount"], ["largest"], keepdims=0),
        node("Cast", ["largest"], ["count"], to=L),
        *loop(),
    ),
    "a range": lambda: model(*COUNT, node("Range", ["zero", "count", "one"], ["r"]), *summed("r")),
    "a range in a function": lambda: with_function(
        *COUNT[:2],
        node("Constant", [], ["zero"], value_int=0),
        node("Constant", [], ["one"], value_int=1),
        node("Range", ["zero", "count", "one"], ["r"]),
        node("Cast", ["r"], ["as double"], to=D),
        node("ReduceSum", ["as double"], ["sum"], keepdims=0),
        node("Sub", ["sum", "sum"], ["nought"]),
        node("Add", ["amount", "nought"], ["answer"]),
    ),
    "a range over the rows that are large": lambda: model(
        node("NonZero", ["amount"], ["places"]),
        node("Size", ["places"], ["many"]),
        node("Range", ["zero", "many", "one"], ["r"]),
        *summed("r"),
    ),
    "a range over random numbers": lambda: model(
        node("RandomUniform", [], ["random"], high=1e9, shape=[1]),
        node("Cast", ["random"], ["random integer"], to=L),
        node("Squeeze", ["random integer"], ["limit"]),
        node("Range", ["zero", "limit", "one"], ["r"]),
        *summed("r"),
    ),
    "a range over two to the power of the rows": lambda: model(
        node("Shape", ["amount"], ["rows"]),
        node("Squeeze", ["rows"], ["row count"]),
        node("Pow", ["two", "row count"], ["many"]),
        node("Range", ["zero", "many", "one"], ["r"]),
        *summed("r"),
        constants={"two": (L, [], [2])},
    ),
    "zeros": lambda: model(*COUNT, node("ConstantOfShape", ["counts"], ["z"]), *summed("z", F)),
    "an expansion": lambda: model(
        *COUNT, node("Expand", ["line", "counts"], ["x"]), *summed("x", D)
    ),
    "tiles": lambda: model(*COUNT, node("Tile", ["line", "counts"], ["x"]), *summed("x", D)),
    "padding": lambda: model(
        *COUNT,
        node("Concat", ["first", "counts"], ["pads"], axis=0),
        node("Pad", ["line", "pads"], ["x"]),
        *summed("x", D),
    ),
    "a resized image": lambda: model(
        *COUNT,
        node("Concat", ["ones", "scale"], ["scales"], axis=0),
        node("Resize", ["image", "", "scales"], ["x"]),
        *summed("x", F),
    ),
    "one hot": lambda: model(
        *COUNT, node("OneHot", ["first", "count", "pair"], ["x"]), *summed("x", D)
    ),
    "a scan over a range": lambda: model(
        *COUNT,
        node("Range", ["zero", "count", "one"], ["r"]),
        node("Cast", ["r"], ["values"], to=D),
        *scan_over("values"),
    ),
    "a window": lambda: model(*COUNT, node("HannWindow", ["count"], ["x"]), *summed("x", F)),
    "a map over a sequence": lambda: model(*sequence_map()),
    "an operator of another library": lambda: model(
        node("Anything", ["amount"], ["answer"], domain="elsewhere")
    ),
    "trees that go round in circles": circular_trees,
}
"""The answer of each that onnxruntime knows is the amount, or follows from it."""

BOUNDED: dict[str, Callable[[], onnx.ModelProto]] = {
    "a range over the rows": lambda: model(
        node("Shape", ["amount"], ["rows"]),
        node("Squeeze", ["rows"], ["row count"]),
        node("Range", ["zero", "row count", "one"], ["r"]),
        *summed("r"),
    ),
    "an expansion to the rows": lambda: model(
        node("Shape", ["amount"], ["rows"]),
        node("Expand", ["line", "rows"], ["x"]),
        *summed("x", D),
    ),
    "zeros of a constant shape": lambda: model(
        node("ConstantOfShape", ["minus"], ["z"]),
        *summed("z", F),
        constants={"minus": (L, [1], [3])},
    ),
    "a scan over the rows": lambda: model(*scan_over("amount")),
    "a reshape by a value": lambda: model(
        *COUNT,
        node("Mul", ["counts", "first"], ["shape"]),
        node("Sub", ["shape", "ones as integers"], ["to shape"]),
        node("Reshape", ["amount", "to shape"], ["answer"]),
        constants={"ones as integers": (L, [1], [1])},
    ),
    "a choice between two sums": lambda: model(
        *COUNT,
        node("Greater", ["largest", "d0"], ["is large"]),
        node(
            "If",
            ["is large"],
            ["answer"],
            then_branch=branch(node("Add", ["amount", "line"], ["more"]), out="more"),
            else_branch=branch(node("Identity", ["amount"], ["same"]), out="same"),
        ),
    ),
    "a function without a loop": lambda: with_function(
        node("Add", ["amount", "amount"], ["answer"])
    ),
}


def save(make: Callable[[], onnx.ModelProto], path: Path) -> Path:
    onnx.save(make(), path)
    return path
