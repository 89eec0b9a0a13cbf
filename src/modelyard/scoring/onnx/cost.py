"""Whether the shapes of a graph's inputs decide what a run of it costs.

A graph of which that is so takes for any row what it took for its example, and runs where one row
must not cost another its answer. One whose *values* decide, by the turns of a loop or by the size
of what it makes, may take any time and any memory for a single row.

What is not known to be harmless counts as costly. The serving image has no `onnx`; the field
numbers here are those of its onnx.proto, the operators those of
https://onnx.ai/onnx/operators/ up to opset 23 and of onnxruntime's own domain.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modelyard.scoring.onnx.operators import HARMLESS, SIZED_BY_VALUES
from modelyard.scoring.onnx.protobuf import fields

_GRAPH, _FUNCTION = 7, 25  # in ModelProto
_NODE, _INITIALIZER, _SPARSE_INITIALIZER, _INPUT, _OUTPUT = 1, 5, 15, 11, 12  # in GraphProto
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7  # in NodeProto
_ATTRIBUTE_NAME, _SUBGRAPH = 1, 6  # in AttributeProto
_TENSOR_NAME, _SPARSE_VALUES, _INFO_NAME = 8, 1, 1  # in TensorProto, SparseTensorProto, ValueInfo
_FUNCTION_NAME, _FUNCTION_INPUT, _FUNCTION_OUTPUT = 1, 4, 5  # in FunctionProto
_FUNCTION_NODE, _FUNCTION_DOMAIN = 7, 10
_RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}
_RANDOM |= {"RandomUniformLike"}
_DEEPEST = 16
"""Subgraphs and functions within each other; what is deeper counts as costly."""


def is_decided_by_shapes(path: Path) -> bool:
    """Whether no value that the graph in `path` is given can make a run of it longer or larger.

    False also for what is no readable model: onnxruntime says what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            return _examine_model(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError):  # ProtobufError and UnicodeDecodeError are ValueErrors
        return False


class _CostlyError(Exception):
    """A value decides what this part of the graph costs."""


@dataclass
class _Node:
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    operator: str = ""
    domain: str = ""
    attributes: list[memoryview] = field(default_factory=list)


@dataclass
class _Function:
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    nodes: list[memoryview] = field(default_factory=list)


@dataclass
class _Graph:
    nodes: list[memoryview] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    constants: set[str] = field(default_factory=set)


_Functions = Mapping[tuple[str, str], _Function]


def _examine_model(model: memoryview) -> bool:
    graphs: list[_Graph] = []
    functions: dict[tuple[str, str], _Function] = {}
    for part in fields(model):
        if part.number == _GRAPH:
            graphs.append(_graph(part.value))
        elif part.number == _FUNCTION:
            name, function = _function(part.value)
            functions[name] = function
    if len(graphs) != 1:
        return False
    try:
        _examine(graphs[0].nodes, graphs[0].constants, functions, 0)
    except _CostlyError:
        return False
    return True


def _examine(
    nodes: Iterable[memoryview], known: set[str], functions: _Functions, depth: int
) -> set[str]:
    """The names that no value decides, after all of `nodes`; raises _CostlyError.

    Args:
        known: such names before them: constants, and what follows from shapes.
    """
    if depth > _DEEPEST:
        raise _CostlyError
    known = set(known)
    for data in nodes:
        node = _node(data)
        decided = _examine_node(node, known, functions, depth)
        known.difference_update(node.outputs)
        known.update(name for name in decided if name)
    return known


def _examine_node(node: _Node, known: set[str], functions: _Functions, depth: int) -> Iterable[str]:
    """The outputs of `node` that no value decides; raises _CostlyError."""
    called = functions.get((node.domain, node.operator))
    if called is not None:
        return _examine_call(node, called, known, functions, depth)
    if node.domain == "" and node.operator in ("If", "Scan"):
        return _examine_subgraphs(node, known, functions, depth)
    sizes = SIZED_BY_VALUES.get(node.operator) if node.domain == "" else None
    if sizes is not None:
        given = (node.inputs[at] for at in sizes if at < len(node.inputs))
        if not known.issuperset(name for name in given if name):
            raise _CostlyError
    elif node.operator not in HARMLESS.get(node.domain, ()):
        raise _CostlyError
    if node.domain == "" and node.operator in ("Shape", "Size"):
        return node.outputs
    is_decided = known.issuperset(name for name in node.inputs if name)
    return node.outputs if is_decided and node.operator not in _RANDOM else ()


def _examine_call(
    node: _Node, called: _Function, known: set[str], functions: _Functions, depth: int
) -> Iterable[str]:
    given = zip(called.inputs, node.inputs, strict=False)
    within = {inner for inner, outer in given if outer == "" or outer in known}
    within |= set(called.inputs[len(node.inputs) :])  # left out
    after = _examine(called.nodes, within, functions, depth + 1)
    pairs = zip(called.outputs, node.outputs, strict=False)
    return [outer for inner, outer in pairs if inner in after]


def _examine_subgraphs(
    node: _Node, known: set[str], functions: _Functions, depth: int
) -> Iterable[str]:
    """Branches of which one is taken; or the body of a scan, whose turns are an axis' length."""
    takes_one = node.operator == "If" and known.issuperset(node.inputs)
    decided = set(node.outputs) if takes_one else set()
    for attribute in node.attributes:
        for part in fields(attribute):
            if part.number != _SUBGRAPH:
                continue
            body = _graph(part.value)
            before = (known | body.constants) - set(body.inputs)
            after = _examine(body.nodes, before, functions, depth + 1)
            pairs = zip(body.outputs, node.outputs, strict=False)
            decided -= {outer for inner, outer in pairs if inner not in after}
    return decided


def _graph(data: memoryview) -> _Graph:
    graph = _Graph()
    for part in fields(data):
        match part.number:
            case n if n == _NODE:
                graph.nodes.append(part.value)
            case n if n == _INITIALIZER:
                graph.constants.add(_text(part.value, _TENSOR_NAME))
            case n if n == _SPARSE_INITIALIZER:
                values = (f.value for f in fields(part.value) if f.number == _SPARSE_VALUES)
                graph.constants.update(_text(value, _TENSOR_NAME) for value in values)
            case n if n == _INPUT:
                graph.inputs.append(_text(part.value, _INFO_NAME))
            case n if n == _OUTPUT:
                graph.outputs.append(_text(part.value, _INFO_NAME))
    return graph


def _function(data: memoryview) -> tuple[tuple[str, str], _Function]:
    function, name, domain = _Function(), "", ""
    for part in fields(data):
        if part.number == _FUNCTION_NAME:
            name = str(part.value, "utf-8")
        elif part.number == _FUNCTION_DOMAIN:
            domain = str(part.value, "utf-8")
        elif part.number == _FUNCTION_INPUT:
            function.inputs.append(str(part.value, "utf-8"))
        elif part.number == _FUNCTION_OUTPUT:
            function.outputs.append(str(part.value, "utf-8"))
        elif part.number == _FUNCTION_NODE:
            function.nodes.append(part.value)
    return (_standard(domain), name), function


def _node(data: memoryview) -> _Node:
    node = _Node()
    for part in fields(data):
        if part.number == _NODE_INPUT:
            node.inputs.append(str(part.value, "utf-8"))
        elif part.number == _NODE_OUTPUT:
            node.outputs.append(str(part.value, "utf-8"))
        elif part.number == _OP_TYPE:
            node.operator = str(part.value, "utf-8")
        elif part.number == _DOMAIN:
            node.domain = _standard(str(part.value, "utf-8"))
        elif part.number == _ATTRIBUTE:
            node.attributes.append(part.value)
    return node


def _standard(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _text(data: memoryview, number: int) -> str:
    return next((str(f.value, "utf-8") for f in fields(data) if f.number == number), "")
