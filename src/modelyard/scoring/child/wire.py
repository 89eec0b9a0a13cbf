"""The messages between the server and a child, over a socket.

A message is its length, 4 bytes little-endian, and a MessagePack array; columns and predictions
travel as their own bytes. Nothing here can carry code: the server does not trust a child.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from modelyard.scoring.column import Array, Column

_LENGTH = struct.Struct("<I")
HEAD_BYTES = _LENGTH.size
MAX_MESSAGE_BYTES = 2**30
_READ_BYTES = 2**18
LONGEST_NUMBER_BYTES = 8
"""A C compiler's long double has more, which no protocol can write."""


class WireError(Exception):
    """The other side sent something that is no message."""


class Load(msgspec.Struct, tag=True, array_like=True):
    """Load the model version whose files are in `folder`."""

    folder: str


class LoadGraph(msgspec.Struct, tag=True, array_like=True):
    """Open the ONNX graph in the file `path`."""

    path: str


class GraphTensor(msgspec.Struct, array_like=True):
    """An input or output of a graph; a dimension that may vary is None."""

    name: str
    type: str
    shape: list[int | None]


class GraphLoaded(msgspec.Struct, tag=True, array_like=True):
    """It is open, with these inputs and outputs."""

    description: str
    inputs: list[GraphTensor]
    outputs: list[GraphTensor]


class Loaded(msgspec.Struct, tag=True, array_like=True):
    """It is loaded.

    `classes` are those of a classifier with probabilities, else empty; `only_labels` marks a
    classifier without. `samples` are strings that it knows, by column.
    """

    description: str
    classes: list[str]
    only_labels: bool
    samples: dict[str, list[str]] = {}


class Bind(msgspec.Struct, tag=True, array_like=True):
    """Which columns to expect, and what to answer.

    Columns come in the order of `names`, to be cast to `dtypes`; the model takes them as one
    matrix of `matrix_dtype` when that is not empty. `class_order` picks and orders the columns of
    the probabilities; when it is empty the model's own prediction is the answer.
    """

    names: list[str]
    dtypes: list[str]
    matrix_dtype: str
    class_order: list[int]


class BindGraph(msgspec.Struct, tag=True, array_like=True):
    """Expect the columns of this contract, which is in YAML, in its order."""

    contract: str


class Bound(msgspec.Struct, tag=True, array_like=True):
    """Ready for questions."""


class PackedColumn(msgspec.Struct, array_like=True):
    """One column: its bytes, or its strings when the dtype is object."""

    dtype: str
    data: bytes | list[str]


class Ask(msgspec.Struct, tag=True, array_like=True):
    """Predict for `rows` rows."""

    rows: int
    columns: list[PackedColumn]


class Answer(msgspec.Struct, tag=True, array_like=True):
    """Predictions as bytes, and the memory that the child holds by now."""

    dtype: str
    shape: list[int]
    data: bytes
    resident_bytes: int


class Failed(msgspec.Struct, tag=True, array_like=True):
    """The model raised; `is_fatal` when the child should not be asked again."""

    message: str
    is_fatal: bool = False


ToChild = Load | LoadGraph | Bind | BindGraph | Ask
FromChild = Loaded | GraphLoaded | Bound | Answer | Failed

_encode = msgspec.msgpack.Encoder().encode
_to_child: msgspec.msgpack.Decoder[ToChild] = msgspec.msgpack.Decoder(ToChild)
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)


def frame(message: ToChild | FromChild) -> bytes:
    """`message` as it goes over the wire."""
    body = _encode(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {len(body)} bytes")
    return _LENGTH.pack(len(body)) + body


def body_bytes(head: bytes | bytearray | memoryview) -> int:
    """How many bytes follow a message's `head`; raises WireError when that is too many."""
    size: int = _LENGTH.unpack(head)[0]
    if size > MAX_MESSAGE_BYTES:
        raise WireError(f"a message of {size} bytes")
    return size


def parse_to_child(body: bytes | bytearray) -> ToChild:
    """A message for the child; raises WireError."""
    try:
        return _to_child.decode(body)
    except msgspec.MsgspecError as error:
        raise WireError(str(error)) from error


def parse_from_child(body: bytes | bytearray) -> FromChild:
    """A message of the child; raises WireError."""
    try:
        return _from_child.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(str(error)) from error


class Readable(Protocol):
    """What `receive` needs of a blocking socket."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Wait for bytes; returns how many came, 0 when the other side has closed."""


def receive(end: Readable) -> bytearray | None:
    """The next message's body from `end`; None when the other side has closed."""
    head = _receive_exactly(end, HEAD_BYTES)
    return None if head is None else _receive_exactly(end, body_bytes(head))


def _receive_exactly(end: Readable, size: int) -> bytearray | None:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        count = end.recv_into(view[got : got + _READ_BYTES])
        if count == 0:
            return None
        got += count
    return data


def ask(columns: Mapping[str, Column], names: Sequence[str]) -> Ask:
    """The question for `columns`, each of shape [n], in the order of `names`."""
    packed = []
    for name in names:
        column = columns[name]
        is_text = column.dtype.kind == "O"
        # an array's own memory: encoding copies it once
        data: Any = column.tolist() if is_text else np.ascontiguousarray(column).data
        packed.append(PackedColumn(column.dtype.str, data))
    return Ask(len(columns[names[0]]), packed)


def columns_of(question: Ask) -> list[Array]:
    """The columns of `question`, each of shape [rows]; those of numbers are read-only."""
    columns: list[Array] = []
    for packed in question.columns:
        if isinstance(packed.data, list):
            column = np.empty(len(packed.data), dtype=object)
            column[:] = packed.data
        else:
            column = np.frombuffer(packed.data, dtype=np.dtype(packed.dtype))
        columns.append(column)
    return columns


def answer(predictions: Array, resident_bytes: int) -> Answer:
    """The answer that gives `predictions`, an array of numbers."""
    data: Any = np.ascontiguousarray(predictions).data
    return Answer(predictions.dtype.str, list(predictions.shape), data, resident_bytes)


def predictions_of(answer: Answer) -> Array:
    """The predictions in `answer`, read-only; raises WireError when they are no numbers."""
    try:
        dtype = np.dtype(answer.dtype)
        is_number = dtype.kind in "biuf" and dtype.itemsize <= LONGEST_NUMBER_BYTES
        if not is_number or min(answer.shape, default=-1) < 0:
            raise WireError(f"predictions of the type {answer.dtype[:20]}")
        return np.frombuffer(answer.data, dtype=dtype).reshape(answer.shape)
    except (TypeError, ValueError) as error:
        raise WireError(f"predictions that are no array: {error}") from error
