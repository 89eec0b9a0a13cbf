"""Messages of the protobuf format, field by field, as far as reading and editing a graph needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_MORE = 0x80  # in a byte of a varint: another one follows
_LONGEST_SHIFT = 63
_LARGEST_TAG = 2**32 - 1
_LONGEST_VARINT = 10


class ProtobufError(ValueError):
    """The bytes are no message."""


@dataclass(frozen=True, eq=False)
class Field:
    """One field of a message.

    Args:
        number: its number in the message's declaration.
        value: what a field of bytes holds: text, a message, packed numbers; empty for others.
        integer: what a varint holds, as int64; 0 for others.
        raw: all of it, as it stands in the message.
    """

    number: int
    value: memoryview
    integer: int
    raw: memoryview
    is_integer: bool

    def integers(self) -> Iterator[int]:
        """Its numbers, when it is one of a repeated field of varints, packed or not."""
        if self.is_integer:
            yield self.integer
        place = 0
        while place < len(self.value):
            number, place = _varint(self.value, place)
            yield _signed(number)


def fields(message: memoryview) -> Iterator[Field]:
    """The fields of `message`, whose bytes they share; raises ProtobufError when it is none."""
    place = 0
    while place < len(message):
        start = place
        tag, place = _varint(message, place)
        if not 7 < tag <= _LARGEST_TAG:  # noqa: PLR2004 - others read it as another field
            raise ProtobufError("a field has no number")
        wire, integer, size = tag & 7, 0, 0
        if wire == _VARINT:
            integer, place = _varint(message, place)
        elif wire == _BYTES:
            size, place = _varint(message, place)
        elif wire in (_FIXED64, _FIXED32):
            place += 8 if wire == _FIXED64 else 4
        else:
            raise ProtobufError("a field has an unknown type")
        end = place + size
        if end > len(message):
            raise ProtobufError("a field is cut short")
        value, raw = message[place:end], message[start:end]
        yield Field(tag >> 3, value, _signed(integer), raw, wire == _VARINT)
        place = end


def split_before(message: memoryview, number: int) -> memoryview:
    """`message` from its first field of this number on; empty when it has none."""
    place = 0
    for field in fields(message):
        if field.number == number:
            return message[place:]
        place += len(field.raw)
    return message[:0]


def integers(message: memoryview, number: int) -> npt.NDArray[np.int64]:
    """The numbers of a repeated field of varints, which have to stand side by side.

    Packed or not; for a great many of them far faster than `fields`.
    """
    rest = split_before(message, number)
    if not rest:
        return np.empty(0, np.int64)
    if rest[0] == number << 3 | _BYTES:
        first = next(fields(rest))
        values, rest = _varints(first.value), rest[len(first.raw) :]
    else:
        octets = np.frombuffer(rest, np.uint8)
        ends = np.flatnonzero(octets < _MORE)
        tags, last = ends[::2], np.concatenate([[-1], ends[1::2]])
        tags = tags[: len(last) - 1]  # each with a number after it
        is_field = (octets[tags] == number << 3) & (tags == last[: len(tags)] + 1)
        count = len(tags) if is_field.all() else int(is_field.argmin())
        size = int(last[count]) + 1
        values, rest = _varints(rest[:size])[1::2], rest[size:]
    if any(field.number == number for field in fields(rest)):
        raise ProtobufError("a repeated field stands apart")
    return values


def _varints(data: memoryview) -> npt.NDArray[np.int64]:
    """All numbers in `data`, which holds nothing else."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < _MORE)
    if len(octets) == 0:
        return np.empty(0, np.int64)
    if len(ends) == 0 or ends[-1] != len(octets) - 1:
        raise ProtobufError("a number has no end")
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > _LONGEST_VARINT:
        raise ProtobufError("a number has no end")
    numbers = np.zeros(len(ends), np.uint64)
    for place in range(int(sizes.max())):
        has = sizes > place
        part = (octets[starts[has] + place] & (_MORE - 1)).astype(np.uint64)
        numbers[has] |= part << np.uint64(7 * place)
    return numbers.view(np.int64)


def message(number: int, content: bytes | bytearray) -> bytes:
    """The field `number`, below 16, that holds `content`."""
    size = len(content)
    length = bytearray()
    while size >= _MORE:
        length.append(size & (_MORE - 1) | _MORE)
        size >>= 7
    length.append(size)
    return bytes([number << 3 | _BYTES, *length]) + bytes(content)


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """The number at `place`, and where it ends."""
    number = shift = 0
    while place < len(data) and shift <= _LONGEST_SHIFT:
        byte = data[place]
        place += 1
        number |= (byte & (_MORE - 1)) << shift
        if byte < _MORE:
            return number, place
        shift += 7
    raise ProtobufError("a number has no end")


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
