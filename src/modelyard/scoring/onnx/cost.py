"""Whether what a graph costs is told by the shape of its input, or by the values in it, too.

A graph of the first kind may run on the event loop: what its example showed holds for every
request. One of the second kind (a loop that turns as often as a value says, a tensor as large as a
value says) takes any time and any memory, so it runs in a process of its own.

Two things are followed along the graph: whether a value is known from constants and dimensions
alone, and whether a dimension is. What is not understood counts as unknown. The serving image has
no `onnx`; the field numbers here are those of its onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.scoring.onnx.operators import (
    ARITHMETIC,
    DIVIDED_BY,
    KNOWN,
    PRODUCTS,
    RANDOM,
    SIZED_BY,
    TREES,
)
from modelyard.scoring.onnx.protobuf import Field, ProtobufError, fields
from modelyard.scoring.onnx.trees import have_ends

_GRAPH, _FUNCTION = 7, 25  # in ModelProto
_NODE, _CONSTANT, _INPUT, _OUTPUT, _SPARSE = 1, 5, 11, 12, 15  # in GraphProto
_TENSOR_NAME = 8  # in TensorProto
_SPARSE_VALUES = 1  # in SparseTensorProto
_NAME = 1  # in ValueInfoProto, AttributeProto and FunctionProto
_FUNCTION_INPUT, _FUNCTION_OUTPUT, _FUNCTION_NODE, _FUNCTION_DOMAIN = 4, 5, 7, 10
_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _ATTRIBUTE, _DOMAIN = 1, 2, 4, 5, 7  # in NodeProto
_SUBGRAPH = 6  # in AttributeProto

_MOST_FIELDS = 400_000  # a second of reading; tensors count as few, whatever their size
_MOST_LEVELS = 16

_FIXED, _SHAPED, _FREE = 0, 1, 3  # how much is known of a value; 2 is the product of two sizes


class _UnboundedError(Exception):
    """Says what the cost depends on."""


@dataclass(frozen=True)
class _Value:
    """What is known of a tensor: how far its values are, and whether its dimensions are not."""

    level: int = _FREE
    has_free_shape: bool = False


_UNKNOWN = _Value(_FREE, has_free_shape=True)
_CONSTANT_VALUE = _Value(_FIXED)


def unbounded_cost(path: Path) -> str:
    """What in the graph at `path` costs as much as a value of its input says; empty for nothing."""
    if path.suffix == ".ort":
        return "it is in a format that is not looked through"
    try:
        with path.open("rb") as file:  # the last view of the mapping closes it
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        _Walk().model(memoryview(data))
    except _UnboundedError as error:
        return str(error)
    except (ProtobufError, UnicodeDecodeError, RecursionError):
        return "it is not written as exporters write graphs"
    except (OSError, ValueError):  # an empty file cannot be mapped
        return "its file cannot be read"
    return ""


class _Scope:
    """The values of one graph by name; what it does not define may be an outer graph's."""

    def __init__(self, outer: _Scope | None = None) -> None:
        self._outer = outer
        self._values: dict[str, _Value] = {}
        self.level: int = 0 if outer is None else outer.level + 1
        if self.level > _MOST_LEVELS:
            raise _UnboundedError("its graphs are nested too deeply")

    def expect(self, name: str) -> None:
        """`name` will be made by a node of this graph."""
        if name in self._values:
            raise _UnboundedError(f"it makes {_short(name)} twice")
        self._values[name] = _UNKNOWN

    def set(self, name: str, value: _Value) -> None:
        self._values[name] = value

    def get(self, name: str) -> _Value:
        if name in self._values:
            return self._values[name]
        return _UNKNOWN if self._outer is None else self._outer.get(name)


@dataclass
class _Node:
    operator: str
    domain: str
    inputs: list[str]
    outputs: list[str]
    attributes: list[Field]


@dataclass
class _Graph:
    inputs: list[str]
    constants: list[str]
    outputs: list[str]
    nodes: list[_Node]


@dataclass
class _Function:
    inputs: list[str]
    outputs: list[str]
    nodes: list[_Node]


class _Walk:
    """One walk through a model; a field that is looked at costs of its budget."""

    def __init__(self) -> None:
        self._left = _MOST_FIELDS
        self._functions: dict[tuple[str, str], _Function] = {}
        self._open: list[tuple[str, str]] = []

    def model(self, data: memoryview) -> None:
        graphs = []
        for field in self._fields(data):
            if field.number == _GRAPH:
                graphs.append(field.value)
            elif field.number == _FUNCTION:
                self._add_function(field.value)
        if len(graphs) != 1:
            raise ProtobufError("expected one graph")
        self._graph(graphs[0], None, None)

    def _fields(self, data: memoryview) -> Iterator[Field]:
        for field in fields(data):
            self._left -= 1
            if self._left < 0:
                raise _UnboundedError("it is too large to be looked through")
            yield field

    def _graph(
        self, data: memoryview, outer: _Scope | None, inputs: Sequence[_Value] | None
    ) -> list[_Value]:
        """Walk through a graph; the values of its outputs.

        Args:
            data: a GraphProto.
            outer: what an inner graph may use.
            inputs: what is known of its inputs; by default, nothing but their shapes.
        """
        scope = _Scope(outer)
        graph = self._read(data)
        given = [_Value()] * len(graph.inputs) if inputs is None else inputs
        if len(given) != len(graph.inputs):
            raise ProtobufError("an inner graph has other inputs than it is given")
        for name, value in zip(graph.inputs, given, strict=True):
            scope.set(name, value)
        for name in graph.constants:  # a graph's input that has a default is never fed
            scope.set(name, _CONSTANT_VALUE)
        self._run(graph.nodes, scope)
        return [scope.get(name) for name in graph.outputs]

    def _run(self, nodes: Sequence[_Node], scope: _Scope) -> None:
        for node in nodes:
            for name in filter(None, node.outputs):
                scope.expect(name)
        for node in nodes:
            values = self._values(node, [_input(scope, name) for name in node.inputs], scope)
            for name, value in zip(node.outputs, values, strict=False):
                scope.set(name, value)

    def _values(self, node: _Node, inputs: Sequence[_Value], scope: _Scope) -> list[_Value]:
        """What is known of a node's outputs; those that are left out are unknown."""
        key = (node.domain, node.operator)
        if key in self._functions:
            return self._call(key, inputs)
        if node.domain in ("", "ai.onnx"):
            if node.operator == "If":
                return self._if(node, inputs, scope)
            if node.operator == "Scan":
                return self._scan(node, inputs, scope)
        if node.operator not in KNOWN.get(node.domain, ()):
            raise _UnboundedError(f"its operator {_named(node)} may take any time")
        if node.operator in TREES and not have_ends(self._attributes(node)):
            raise _UnboundedError("a branch of its trees may lead back to where it came from")
        return [_outcome(node, inputs)] * len(node.outputs)

    def _call(self, key: tuple[str, str], inputs: Sequence[_Value]) -> list[_Value]:
        """The outputs of a function of the model's own."""
        if key in self._open or len(self._open) > _MOST_LEVELS or key[1] in KNOWN.get(key[0], ()):
            raise _UnboundedError(f"its function {_short(key[1])} may call itself")
        function = self._functions[key]
        self._left -= len(function.nodes)
        if self._left < 0:
            raise _UnboundedError("it is too large to be looked through")
        scope = _Scope()
        for place, name in enumerate(function.inputs):
            scope.set(name, inputs[place] if place < len(inputs) else _CONSTANT_VALUE)
        self._open.append(key)
        self._run(function.nodes, scope)
        self._open.pop()
        return [scope.get(name) for name in function.outputs]

    def _if(self, node: _Node, inputs: Sequence[_Value], scope: _Scope) -> list[_Value]:
        attributes = self._attributes(node)
        branches = [
            self._graph(self._subgraph(attributes[name]), scope, ())
            for name in ("then_branch", "else_branch")
        ]
        condition = inputs[0]
        return [
            _Value(
                max(condition.level, *(value.level for value in values)),
                condition.level == _FREE or any(value.has_free_shape for value in values),
            )
            for values in zip(*branches, strict=False)
        ]

    def _scan(self, node: _Node, inputs: Sequence[_Value], scope: _Scope) -> list[_Value]:
        """As many turns as an input is long, and what is carried keeps its shape."""
        body = self._subgraph(self._attributes(node)["body"])
        is_free = any(value.has_free_shape for value in inputs)
        self._graph(body, scope, [_Value(_FREE, is_free)] * len(inputs))
        return [_Value(_FREE, is_free)] * len(node.outputs)

    # -- reading ---------------------------------------------------------------------------------

    def _read(self, data: memoryview) -> _Graph:
        """The parts of a GraphProto."""
        graph = _Graph([], [], [], [])
        for field in self._fields(data):
            if field.number == _NODE:
                graph.nodes.append(self._node(field.value))
            elif field.number == _CONSTANT:
                graph.constants += self._texts(field.value, _TENSOR_NAME)
            elif field.number == _INPUT:
                graph.inputs += self._texts(field.value, _NAME)
            elif field.number == _OUTPUT:
                graph.outputs += self._texts(field.value, _NAME)
            elif field.number == _SPARSE:
                values = [f.value for f in self._fields(field.value) if f.number == _SPARSE_VALUES]
                for value in values:
                    graph.constants += self._texts(value, _TENSOR_NAME)
        return graph

    def _texts(self, data: memoryview, number: int) -> list[str]:
        found = [str(f.value, "utf-8") for f in self._fields(data) if f.number == number]
        if len(found) != 1:
            raise ProtobufError("expected one name")
        return found

    def _node(self, data: memoryview) -> _Node:
        texts: dict[int, list[str]] = {}
        attributes: list[Field] = []
        for field in self._fields(data):
            if field.number == _ATTRIBUTE:
                attributes.append(field)
            elif field.number in (_NODE_INPUT, _NODE_OUTPUT, _OP_TYPE, _DOMAIN):
                texts.setdefault(field.number, []).append(str(field.value, "utf-8"))
        domains, operators = texts.get(_DOMAIN, [""]), texts.get(_OP_TYPE, ())
        if len(domains) != 1 or len(operators) != 1:
            raise ProtobufError("expected one operator")
        return _Node(
            operators[0],
            domains[0],
            texts.get(_NODE_INPUT, []),
            texts.get(_NODE_OUTPUT, []),
            attributes,
        )

    def _add_function(self, data: memoryview) -> None:
        function = _Function([], [], [])
        names: dict[int, list[str]] = {_NAME: [], _FUNCTION_DOMAIN: []}
        texts = {_FUNCTION_INPUT: function.inputs, _FUNCTION_OUTPUT: function.outputs} | names
        for field in self._fields(data):
            if field.number == _FUNCTION_NODE:
                function.nodes.append(self._node(field.value))
            elif field.number in texts:
                texts[field.number].append(str(field.value, "utf-8"))
        key = ("".join(names[_FUNCTION_DOMAIN]), "".join(names[_NAME]))
        if key in self._functions or any(len(found) > 1 for found in names.values()):
            raise ProtobufError("expected one function of a name")
        self._functions[key] = function

    def _attributes(self, node: _Node) -> Mapping[str, memoryview]:
        """A node's attributes by name; those of trees have a great many numbers after it."""
        found: dict[str, memoryview] = {}
        for attribute in node.attributes:
            name = next((f for f in fields(attribute.value) if f.number == _NAME), None)
            if name is None or (text := str(name.value, "utf-8")) in found:
                raise ProtobufError("expected one attribute of a name")
            found[text] = attribute.value
        return found

    def _subgraph(self, attribute: memoryview) -> memoryview:
        graphs = [f.value for f in self._fields(attribute) if f.number == _SUBGRAPH]
        if len(graphs) != 1:
            raise ProtobufError("expected one graph")
        return graphs[0]


def _input(scope: _Scope, name: str) -> _Value:
    """An input of a node; one that is left out is as known as a constant."""
    return scope.get(name) if name else _CONSTANT_VALUE


def _outcome(node: _Node, inputs: Sequence[_Value]) -> _Value:
    """What is known of the outputs of a known operator."""
    operator = node.operator
    sized = [inputs[n] for n in SIZED_BY.get(operator, ()) if n < len(inputs)]
    if any(value.level == _FREE for value in sized):
        raise _UnboundedError(f"its operator {operator} makes as much as a value of its input says")
    divided = [inputs[n] for n in DIVIDED_BY.get(operator, ()) if n < len(inputs)]
    is_free = any(value.has_free_shape for value in inputs)
    if operator in ("Shape", "Size"):
        level = _FREE if is_free else 2 if operator == "Size" else _SHAPED
        return _Value(level)
    is_free = is_free or any(value.level == _FREE for value in divided)
    if operator in RANDOM:
        return _Value(_FREE, is_free)
    return _Value(_level(operator, [value.level for value in inputs]), is_free)


def _level(operator: str, levels: Sequence[int]) -> int:
    highest = max(levels, default=_FIXED)
    if highest in (_FIXED, _FREE) or operator in ARITHMETIC:
        return highest
    if operator in PRODUCTS:
        products = sum(levels) if len(levels) > 1 else highest + 1
        return min(products, _FREE)
    return _FREE


def _named(node: _Node) -> str:
    domain = "" if node.domain in ("", "ai.onnx") else f" of {_short(node.domain)}"
    return f"{_short(node.operator)}{domain}"


def _short(name: str) -> str:
    return name[:40] if name.isprintable() else "(a name that cannot be shown)"
