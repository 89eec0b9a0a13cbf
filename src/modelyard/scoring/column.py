"""A column of rows, as every model is asked with it: an array, or strings as codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_OBJECT = np.dtype(object)


@dataclass(frozen=True, eq=False)
class EncodedStrings:
    """A column of strings as its different `values` and, for each row, the index of its own.

    A handful of different strings takes a byte or two a row, and each is looked at once.
    """

    values: Sequence[str]
    codes: npt.NDArray[np.integer[Any]]

    def __len__(self) -> int:
        """Rows."""
        return len(self.codes)

    def __getitem__(self, rows: slice) -> EncodedStrings:
        """Some of its rows."""
        return EncodedStrings(self.values, self.codes[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """The strings, dtype object, shape [rows]."""
        if copy is False:
            raise ValueError("an encoded column has no array of strings to share")
        strings: Array = np.array(self.values, _OBJECT)[self.codes]
        return strings.astype(dtype or _OBJECT, copy=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of its array."""
        return _OBJECT

    def tolist(self) -> list[str]:
        """The strings."""
        found: list[str] = np.asarray(self).tolist()
        return found


Column = Array | EncodedStrings
"""An array of shape [rows], or encoded strings."""

Columns = Mapping[str, Array]
"""Feature name → array [n]: float64, int64, bool, or object for strings."""

EncodedColumns = dict[str, Column]
"""What rows become before a model is asked: the same, and strings may be encoded."""


def concatenate(parts: Sequence[Column]) -> Column:
    """The parts of one column, one after another; encoded where all of them are."""
    if len(parts) == 1:
        return parts[0]
    encoded = [part for part in parts if isinstance(part, EncodedStrings)]
    if len(encoded) < len(parts):
        return np.concatenate([np.asarray(part) for part in parts])
    values: list[str] = []
    codes: list[Array] = []
    last, start = None, 0
    for part in encoded:
        if part.values is not last:  # most parts share one dictionary
            last, start = part.values, len(values)
            values.extend(part.values)
        codes.append(part.codes.astype(np.int64) + start)
    return EncodedStrings(values, np.concatenate(codes))
