"""Takes the leading encoders of categories out of an ONNX graph, so that codes can be fed to it.

For many rows, onnxruntime's own strings cost more than all of preprocessing: each is copied out of
Python, hashed and looked up. A column that comes as codes needs none of that. So the graph's
`LabelEncoder` is removed, and `Encoder` does its work here, once for each different string.

A graph that is not exactly of the expected form is left as it is. The serving image has no `onnx`;
the field numbers here are those of its onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modelyard.scoring.column import Column, EncodedStrings
from modelyard.scoring.onnx.protobuf import Field, fields, message

_LARGEST_BYTES = 64 * 2**20  # of a file that is read to look for encoders
_EXTERNAL = b"location"  # the key under which a tensor names the file that it is in
_GRAPH = 7  # in ModelProto
_NODE, _INPUT, _OUTPUT, _VALUE_INFO = 1, 11, 12, 13  # in GraphProto
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7  # in NodeProto
_NAME, _INT, _INTS, _STRINGS = 1, 3, 8, 9  # in AttributeProto
_TYPE, _TENSOR_TYPE, _ELEMENT_TYPE = 2, 1, 1  # in ValueInfoProto, TypeProto, TypeProto.Tensor
_INT64 = 7  # in TensorProto.DataType
_GRAPHS = (6, 11)  # in AttributeProto
_KNOWN = {b"keys_strings", b"values_int64s", b"default_int64", b"default_float", b"default_string"}


@dataclass(frozen=True)
class Encoder:
    """What the removed node did: strings to numbers, for the input `name` that took its place."""

    name: str
    numbers: Mapping[str, int]
    default: int

    def encode(self, column: Column) -> npt.NDArray[np.int64]:
        """The number of each string in `column`, shape [rows]."""
        numbers, default = self.numbers, self.default
        if isinstance(column, EncodedStrings):
            each = np.array([numbers.get(value, default) for value in column.values], np.int64)
            return np.take(each, column.codes)
        return np.array([numbers.get(value, default) for value in column.tolist()], np.int64)


def take_encoders(path: Path) -> tuple[bytes, dict[str, Encoder]] | None:
    """The graph in `path` without its leading encoders, and these by the name of their input.

    None when it has none that can be taken.
    """
    if path.stat().st_size > _LARGEST_BYTES:
        return None
    model = path.read_bytes()
    if _EXTERNAL in model:  # where a graph without a path of its own looks for files is not said
        return None
    try:
        return _take(memoryview(model))
    except ValueError:  # no protobuf message: onnxruntime says what is wrong with it
        return None


def _take(model: memoryview) -> tuple[bytes, dict[str, Encoder]] | None:
    whole = list(fields(model))
    graphs = [field for field in whole if field.number == _GRAPH]
    if len(graphs) != 1:
        return None
    parts = list(fields(graphs[0].value))
    taken: dict[str, Encoder] = {}
    removed: set[int] = set()
    for number, part in enumerate(parts):
        found = _encoder(part.value) if part.number == _NODE else None
        if found is not None and _is_leading(found, part, parts):
            taken[found[0]] = found[1]
            removed.add(number)
    if not taken:
        return None
    names = {encoder.name for encoder in taken.values()}
    graph = bytearray()
    for number, part in enumerate(parts):
        if number in removed or (part.number == _VALUE_INFO and _name_of(part.value) in names):
            continue
        name = _name_of(part.value) if part.number == _INPUT else None
        graph += _renamed(part.value, taken[name].name) if name in taken else part.raw
    new = [message(_GRAPH, graph) if field.number == _GRAPH else field.raw for field in whole]
    return b"".join(new), taken


def _encoder(node: memoryview) -> tuple[str, Encoder] | None:
    """The input of an encoder from strings to int64, and what it does."""
    parts = list(fields(node))
    texts: dict[int, list[str]] = {}
    for field in parts:
        if field.number in (_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _DOMAIN):
            texts.setdefault(field.number, []).append(str(field.value, "utf-8"))
    kind = (texts.get(_OP_TYPE), texts.get(_DOMAIN))
    inputs, outputs = texts.get(_NODE_INPUT, ()), texts.get(_NODE_OUTPUT, ())
    if kind != (["LabelEncoder"], ["ai.onnx.ml"]) or not len(inputs) == len(outputs) == 1:
        return None
    attributes = {
        bytes(f.value): attribute
        for attribute in (list(fields(a.value)) for a in parts if a.number == _ATTRIBUTE)
        for f in attribute
        if f.number == _NAME
    }
    if not {b"keys_strings", b"values_int64s"} <= attributes.keys() <= _KNOWN:
        return None
    keys = [str(f.value, "utf-8") for f in attributes[b"keys_strings"] if f.number == _STRINGS]
    values = [n for f in attributes[b"values_int64s"] if f.number == _INTS for n in f.integers()]
    default = [f.integer for f in attributes.get(b"default_int64", ()) if f.number == _INT] or [-1]
    if len(keys) != len(values) or len(set(keys)) != len(keys):
        return None
    return inputs[0], Encoder(outputs[0], dict(zip(keys, values, strict=True)), default[-1])


def _is_leading(found: tuple[str, Encoder], node: Field, parts: list[Field]) -> bool:
    """Whether the encoder takes an input of the graph that no other node uses."""
    name, encoder = found
    known = name.encode()
    others = [p for p in parts if p is not node and p.number in (_NODE, _OUTPUT)]
    outputs = [_name_of(p.value) for p in others if p.number == _OUTPUT]
    inputs = [_name_of(p.value) for p in parts if p.number == _INPUT]
    return (
        inputs.count(name) == 1
        and encoder.name not in (*outputs, *inputs)
        and not any(p.number == _NODE and _mentions(p.value, known) for p in others)
    )


def _mentions(node: memoryview, name: bytes) -> bool:
    """Whether a node takes `name`; anywhere within a subgraph counts."""
    for field in fields(node):
        if field.number == _NODE_INPUT and field.value == name:
            return True
        if field.number == _ATTRIBUTE and name in bytes(field.value):
            has_subgraph = any(inner.number in _GRAPHS for inner in fields(field.value))
            if has_subgraph:
                return True
    return False


def _name_of(info: memoryview) -> str:
    return next((str(f.value, "utf-8") for f in fields(info) if f.number == _NAME), "")


def _renamed(info: memoryview, name: str) -> bytes:
    """A graph's input, called `name` and of int64; its shape stays."""

    def of_int64(field: Field) -> bytes:
        if field.number != _TENSOR_TYPE:
            return bytes(field.raw)
        inner = [f.raw for f in fields(field.value) if f.number != _ELEMENT_TYPE]
        return message(_TENSOR_TYPE, bytes([_ELEMENT_TYPE << 3, _INT64]) + b"".join(inner))

    parts = [message(_NAME, name.encode())]
    for field in fields(info):
        if field.number == _TYPE:
            parts.append(message(_TYPE, b"".join(map(of_int64, fields(field.value)))))
        elif field.number != _NAME:
            parts.append(bytes(field.raw))
    return message(_INPUT, b"".join(parts))
