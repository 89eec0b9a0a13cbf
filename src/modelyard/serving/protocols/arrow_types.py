"""The Arrow types that a feature can come in, as a stream's schema tells them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from modelyard.serving.protocols.flatbuffer import FlatbufferTable

_INT, _FLOAT = 2, 3  # numbers of the types in the format's Schema.fbs
_NUMBERS = (_INT, _FLOAT)
_FLOATS = {0: "<f2", 1: "<f4", 2: "<f8"}
_INT_BITS = (8, 16, 32, 64)


class ArrowLayout(Enum):
    """How a column's values lie in its buffers."""

    PLAIN = "plain"
    BITS = "bits"
    TEXT = "text"
    TEXT_VIEW = "text view"
    OTHER = "other"


_LAYOUTS = {
    5: (ArrowLayout.TEXT, "<i4"),  # Utf8
    6: (ArrowLayout.BITS, ""),  # Bool
    20: (ArrowLayout.TEXT, "<i8"),  # LargeUtf8
    24: (ArrowLayout.TEXT_VIEW, ""),  # Utf8View
}


@dataclass(frozen=True)
class ArrowField:
    """A column of the schema.

    Args:
        name: its name.
        layout: how its values lie.
        dtype: numpy's name of its values, or of the offsets of its texts.
        dictionary: id of the dictionary that its indices refer to, which have `codes` as dtype.
        codes: see `dictionary`.
    """

    name: str
    layout: ArrowLayout
    dtype: str = ""
    dictionary: int | None = None
    codes: str = ""


def read_schema(schema: FlatbufferTable) -> list[ArrowField]:
    """The columns of a schema."""
    return [_column(field) for field in schema.tables(1)]


def _column(field: FlatbufferTable) -> ArrowField:
    name = field.text(0)
    layout, dtype = _layout(field.number(2, "B"), field.table(3))
    encoding = field.table(4)
    if encoding is None:
        return ArrowField(name, layout, dtype)
    index = encoding.table(1)
    codes = "<i4" if index is None else _int(index)
    if not codes:
        return ArrowField(name, ArrowLayout.OTHER)
    return ArrowField(name, layout, dtype, encoding.number(0, "q"), codes)


def _layout(kind: int, details: FlatbufferTable | None) -> tuple[ArrowLayout, str]:
    if details is not None and kind in _NUMBERS:
        dtype = _int(details) if kind == _INT else _FLOATS.get(details.number(0, "h"), "")
        return (ArrowLayout.PLAIN if dtype else ArrowLayout.OTHER), dtype
    return _LAYOUTS.get(kind, (ArrowLayout.OTHER, ""))


def _int(details: FlatbufferTable) -> str:
    bits = details.number(0, "i")
    if bits not in _INT_BITS:
        return ""
    return f"<{'i' if details.number(1, '?') else 'u'}{bits // 8}"
