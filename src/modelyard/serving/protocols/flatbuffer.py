"""Tables of the FlatBuffers format; every offset is checked, because they come from outside."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass


class FlatbufferError(ValueError):
    """An offset leads out of the buffer, or text is not UTF-8."""


@dataclass(frozen=True)
class FlatbufferTable:
    """The table at byte `place` of `data`; its fields have numbers."""

    data: bytes
    place: int

    @classmethod
    def root(cls, data: bytes) -> FlatbufferTable:
        """The root table of a whole buffer."""
        return cls(data, _unpack("<I", data, 0))

    def number(self, field: int, code: str, default: int = 0) -> int:
        """A scalar; `code` is that of `struct`."""
        place = self._find(field)
        return _unpack(f"<{code}", self.data, place) if place else default

    def table(self, field: int) -> FlatbufferTable | None:
        """A table within this one; None when it is absent."""
        place = self._find(field)
        return (
            FlatbufferTable(self.data, place + _unpack("<I", self.data, place)) if place else None
        )

    def text(self, field: int, most_bytes: int) -> str:
        """A string; empty when it is absent. Any number of fields may share a long one."""
        start, length = self._vector(field, 1)
        if length > most_bytes:
            raise FlatbufferError("a name is too long")
        try:
            return self.data[start : start + length].decode("utf-8")
        except UnicodeDecodeError as error:
            raise FlatbufferError("a name is not UTF-8") from error

    def tables(self, field: int) -> Iterator[FlatbufferTable]:
        """The tables of a vector."""
        start, length = self._vector(field, 4)
        for place in range(start, start + 4 * length, 4):
            yield FlatbufferTable(self.data, place + _unpack("<I", self.data, place))

    def numbers(self, field: int, each: int) -> list[tuple[int, ...]]:
        """The structs of a vector, each of `each` 64-bit numbers."""
        start, length = self._vector(field, 8 * each)
        return list(struct.iter_unpack(f"<{each}q", self.data[start : start + 8 * each * length]))

    def _vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        """Where a vector's items start, and how many there are."""
        place = self._find(field)
        if not place:
            return 0, 0
        place += _unpack("<I", self.data, place)
        length = _unpack("<I", self.data, place)
        if place + 4 + item_bytes * length > len(self.data):
            raise FlatbufferError("a vector is cut short")
        return place + 4, length

    def _find(self, field: int) -> int:
        """Where a field lies; 0 when it is absent."""
        vtable = self.place - _unpack("<i", self.data, self.place)
        slot = 4 + 2 * field
        if slot + 2 > _unpack("<H", self.data, vtable):
            return 0
        offset = _unpack("<H", self.data, vtable + slot)
        return self.place + offset if offset else 0


def _unpack(code: str, data: bytes, place: int) -> int:
    if place < 0:
        raise FlatbufferError("an offset leads out of the buffer")
    try:
        return int(struct.unpack_from(code, data, place)[0])
    except struct.error as error:
        raise FlatbufferError("an offset leads out of the buffer") from error
