"""ONNX graphs of which a row's value decides what they cost: seconds or GiB for one number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onnx import ModelProto, TensorProto, helper, save_model

from support.models.toy import CONTRACT, graph_of

CONTRACT_OF_ONE = CONTRACT | {"features": [CONTRACT["features"][0]], "example": {"amount": 3.0}}
"""One number, `amount`, at most 999: that many turns, or powers of ten of them."""

_INPUTS = {"amount": (TensorProto.DOUBLE, ["n"])}
_OUTPUTS = {"answer": (TensorProto.DOUBLE, ["n"])}


def _largest_turns() -> list:
    """10 to the largest amount, as an int64 scalar `turns`."""
    return [
        helper.make_node("ReduceMax", ["amount"], ["largest"], keepdims=0),
        helper.make_node("Pow", ["ten", "largest"], ["many"]),
        helper.make_node("Cast", ["many"], ["turns"], to=TensorProto.INT64),
    ]


_TEN = {"ten": (TensorProto.DOUBLE, [], [10.0])}


def looping() -> ModelProto:
    """A loop of 10^amount turns that answers the amount."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n"]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["n"]),
        ],
    )
    loop = helper.make_node("Loop", ["turns", "", "amount"], ["answer"], body=body)
    return graph_of([*_largest_turns(), loop], _INPUTS, _OUTPUTS, _TEN)


def swelling() -> ModelProto:
    """10^amount numbers, of which the sum of none is added to the amount."""
    nodes = [
        *_largest_turns(),
        helper.make_node("Range", ["zero", "turns", "step"], ["all"]),
        helper.make_node("ReduceMin", ["all"], ["nothing"], keepdims=0),
        helper.make_node("Cast", ["nothing"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["amount", "wide"], ["answer"]),
    ]
    constants = {"zero": (TensorProto.INT64, [], [0]), "step": (TensorProto.INT64, [], [1])}
    return graph_of(nodes, _INPUTS, _OUTPUTS, _TEN | constants)


def saved(graph: Callable[[], ModelProto]) -> Callable[[Path], None]:
    """Writes `graph` where it is told, as `write_version` wants it."""
    return lambda path: save_model(graph(), path)
