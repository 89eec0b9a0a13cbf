"""The types of a stream's columns, and which of them a feature can have.

Fields and numbers are those of the format's Schema.fbs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import islice

import numpy as np

from modelyard.scoring.column import Array
from modelyard.serving.protocols.flatbuffer import FlatbufferTable

_INT, _FLOAT = 2, 3
_FLOATS = {0: "<f2", 1: "<f4", 2: "<f8"}
_INT_BITS = (8, 16, 32, 64)
_LONGEST_NAME_BYTES = 4096  # no feature has such a name; it is refused like any unknown one


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
_EMPTY = {kind: np.empty(0, kind) for kind in ("f8", "i8", "u8", "?", "O", "V1")}


@dataclass(frozen=True)
class ArrowField:
    """A field of the schema, which describes one column.

    Args:
        name: the column's name.
        layout: how its values lie.
        dtype: numpy's name for the type of its values, or of the offsets of its texts.
        dictionary: id of the dictionary that holds its values; None when it holds them itself.
        codes: numpy's name for the type of its indices into the dictionary.
    """

    name: str
    layout: ArrowLayout
    dtype: str = ""
    dictionary: int | None = None
    codes: str = ""

    def empty(self) -> Array:
        """A column of this type without rows; its dtype is V1 for types that no feature has."""
        match self.layout:
            case ArrowLayout.PLAIN:
                return _EMPTY[f"{self.dtype[1]}8"]
            case ArrowLayout.BITS:
                return _EMPTY["?"]
            case ArrowLayout.TEXT | ArrowLayout.TEXT_VIEW:
                return _EMPTY["O"]
            case _:
                return _EMPTY["V1"]


def read_schema(schema: FlatbufferTable, most: int) -> list[ArrowField]:
    """The fields of a schema, and one more than `most` where there are more."""
    return [_read_field(field) for field in islice(schema.tables(1), most + 1)]


def _read_field(field: FlatbufferTable) -> ArrowField:
    name = field.text(0, _LONGEST_NAME_BYTES)
    kind, details = field.number(2, "B"), field.table(3)
    layout, dtype = _LAYOUTS.get(kind, (ArrowLayout.OTHER, ""))
    if kind in (_INT, _FLOAT) and details is not None:
        dtype = _int_dtype(details) if kind == _INT else _FLOATS.get(details.number(0, "h"), "")
        layout = ArrowLayout.PLAIN if dtype else ArrowLayout.OTHER
    encoding = field.table(4)
    if encoding is None:
        return ArrowField(name, layout, dtype)
    index = encoding.table(1)
    codes = "<i4" if index is None else _int_dtype(index)
    if not codes:
        return ArrowField(name, ArrowLayout.OTHER)
    return ArrowField(name, layout, dtype, encoding.number(0, "q"), codes)


def _int_dtype(details: FlatbufferTable) -> str:
    bits = details.number(0, "i")
    if bits not in _INT_BITS:
        return ""
    return f"<{'i' if details.number(1, '?') else 'u'}{bits // 8}"
