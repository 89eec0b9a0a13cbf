"""Arrow IPC streams that no library writes: one buffer or field listed many times.

The format: https://arrow.apache.org/docs/format/Columnar.html and its Schema.fbs, Message.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from flatbuffers import Builder

FLOAT, UTF8, UTF8_VIEW, INT = 3, 5, 24, 2
SCHEMA, DICTIONARY, RECORDS = 1, 2, 3
END = struct.pack("<II", 0xFFFFFFFF, 0)
Field = tuple[str, int, int | None]
"""Name, type, and the id of its dictionary."""


def stream(*messages: bytes) -> bytes:
    return b"".join(messages) + END


def schema(fields: Sequence[Field], times: int = 1) -> bytes:
    """A schema whose fields are each listed so many times."""

    def header(builder: Builder) -> int:
        offsets = [_field(builder, *field) for field in fields] * times
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        listed = builder.EndVector()
        builder.StartObject(4)
        builder.PrependUOffsetTRelativeSlot(1, listed, 0)
        return builder.EndObject()

    return _message(SCHEMA, b"", header)


def records(
    rows: int,
    columns: int,
    buffers: Sequence[tuple[int, int]],
    body: bytes = b"",
    variadic: Sequence[int] = (),
) -> bytes:
    """A record batch; buffers are places and lengths in `body`."""
    return _message(RECORDS, body, lambda b: _batch(b, rows, columns, buffers, variadic))


def dictionary(
    number: int, rows: int, buffers: Sequence[tuple[int, int]], body: bytes, *, delta: bool = False
) -> bytes:
    def header(builder: Builder) -> int:
        batch = _batch(builder, rows, 1, buffers, ())
        builder.StartObject(3)
        builder.PrependInt64Slot(0, number, 0)
        builder.PrependUOffsetTRelativeSlot(1, batch, 0)
        builder.PrependBoolSlot(2, delta, False)  # noqa: FBT003 - as flatbuffers has it
        return builder.EndObject()

    return _message(DICTIONARY, body, header)


def texts(values: Sequence[bytes]) -> tuple[list[tuple[int, int]], bytes]:
    """Buffers and body of a column of texts."""
    offsets = [0]
    for value in values:
        offsets.append(offsets[-1] + len(value))
    head = struct.pack(f"<{len(offsets)}i", *offsets)
    return [(0, 0), (0, len(head)), (len(head), offsets[-1])], head + b"".join(values)


def _message(kind: int, body: bytes, header: Callable[[Builder], int]) -> bytes:
    body += bytes(-len(body) % 8)
    builder = Builder(256)
    offset = header(builder)
    builder.StartObject(5)
    builder.PrependInt16Slot(0, 4, 0)
    builder.PrependUint8Slot(1, kind, 0)
    builder.PrependUOffsetTRelativeSlot(2, offset, 0)
    builder.PrependInt64Slot(3, len(body), 0)
    builder.Finish(builder.EndObject())
    metadata = bytes(builder.Output())
    metadata += bytes(-len(metadata) % 8)
    return struct.pack("<II", 0xFFFFFFFF, len(metadata)) + metadata + body


def _field(builder: Builder, name: str, kind: int, number: int | None) -> int:
    text = builder.CreateString(name)
    builder.StartObject(2)
    if kind == INT:
        builder.PrependInt32Slot(0, 64, 0)
        builder.PrependBoolSlot(1, True, False)  # noqa: FBT003 - as flatbuffers has it
    elif kind == FLOAT:
        builder.PrependInt16Slot(0, 2, 0)
    details = builder.EndObject()
    encoding = 0
    if number is not None:
        builder.StartObject(4)
        builder.PrependInt64Slot(0, number, 0)
        encoding = builder.EndObject()
    builder.StartObject(7)
    builder.PrependUOffsetTRelativeSlot(0, text, 0)
    builder.PrependUint8Slot(2, kind, 0)
    builder.PrependUOffsetTRelativeSlot(3, details, 0)
    if encoding:
        builder.PrependUOffsetTRelativeSlot(4, encoding, 0)
    return builder.EndObject()


def _batch(
    builder: Builder,
    rows: int,
    columns: int,
    buffers: Sequence[tuple[int, int]],
    variadic: Sequence[int],
) -> int:
    nodes = _structs(builder, [(rows, 0)] * columns)
    listed = _structs(builder, buffers)
    builder.StartVector(8, len(variadic), 8)
    for count in reversed(variadic):
        builder.PrependInt64(count)
    counts = builder.EndVector()
    builder.StartObject(5)
    builder.PrependInt64Slot(0, rows, 0)
    builder.PrependUOffsetTRelativeSlot(1, nodes, 0)
    builder.PrependUOffsetTRelativeSlot(2, listed, 0)
    builder.PrependUOffsetTRelativeSlot(4, counts, 0)
    return builder.EndObject()


def _structs(builder: Builder, pairs: Sequence[tuple[int, int]]) -> int:
    builder.StartVector(16, len(pairs), 8)
    for first, second in reversed(pairs):
        builder.PrependInt64(second)
        builder.PrependInt64(first)
    return builder.EndVector()
