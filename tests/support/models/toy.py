"""The toy model: a contract with a feature of every type, and real ONNX graphs; no mlflow.

The usual graph answers `1000 * version + amount`: a torn or a stale answer, or one that belongs to
another row, is seen at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from modelyard.contract import Contract
from modelyard.registry import parse_model_uri

NAME = "toy"
URI = parse_model_uri(f"models:/{NAME}@champion")

CONTRACT: dict[str, Any] = {
    "description": "Answers 1000 * version + amount.",
    "features": [
        {"name": "amount", "type": "number", "minimum": 0, "maximum": 999, "unit": "EUR"},
        {
            "name": "merchant_category",
            "type": "category",
            "categories": ["electronics", "grocery", "books: new"],
        },
        {"name": "hour", "type": "integer", "minimum": 0, "maximum": 23},
        {"name": "is online", "type": "boolean"},
        {"name": "note", "type": "string", "max_length": 8},
    ],
    "output": {"name": "answer", "kind": "value"},
    "example": {
        "amount": 12.5,
        "merchant_category": "grocery",
        "hour": 9,
        "is online": True,
        "note": "hi",
    },
}
ROW: dict[str, Any] = CONTRACT["example"]

_ONNX_TYPES = {
    "number": TensorProto.DOUBLE,
    "integer": TensorProto.INT64,
    "boolean": TensorProto.BOOL,
    "category": TensorProto.STRING,
    "string": TensorProto.STRING,
}


def contract_with(**changes: Any) -> dict[str, Any]:
    """The usual contract with some keys changed."""
    return CONTRACT | changes


def contract_of(features: Sequence[str] = ("number",), **output: Any) -> Contract:
    """A contract with features a, b, c … of these types."""
    names = "abcdef"[: len(features)]
    examples = {"number": 1.5, "integer": 2, "boolean": True, "string": "x"}
    return Contract.model_validate(
        contract_with(
            features=[{"name": n, "type": t} for n, t in zip(names, features, strict=True)],
            example={n: examples[t] for n, t in zip(names, features, strict=True)},
            output={"name": "y", **output},
        )
    )


def graph_of(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, list[Any]]],
    outputs: Mapping[str, tuple[int, list[Any]]],
    constants: Mapping[str, tuple[int, list[int], list[Any]]] | None = None,
) -> onnx.ModelProto:
    """A graph; inputs and outputs by name: element type and shape."""
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in outputs.items()],
        [helper.make_tensor(n, *value) for n, value in (constants or {}).items()],
    )
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = 9
    return model


def save_graph(path: Path, *parts: Any) -> None:
    """Write the graph of these parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph_of(*parts), path)


def toy_graph(number: int, contract: Mapping[str, Any] = CONTRACT) -> onnx.ModelProto:
    """`1000 * number + amount`, one input a feature."""
    return graph_of(
        [
            helper.make_node("Add", ["amount", "offset"], ["sum"]),
            helper.make_node("Cast", ["sum"], ["answer"], to=TensorProto.FLOAT),
        ],
        {f["name"]: (_ONNX_TYPES[f["type"]], ["n"]) for f in contract["features"]},
        {"answer": (TensorProto.FLOAT, ["n"])},
        {"offset": (TensorProto.DOUBLE, [1], [1000.0 * number])},
    )


def save_toy_graph(path: Path, number: int, contract: Mapping[str, Any] = CONTRACT) -> None:
    """Write the graph of version `number`."""
    onnx.save(toy_graph(number, contract), path)
