"""Columns of strings as codes: a handful of different strings, and a number for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

_OBJECT = np.dtype(object)


@dataclass(frozen=True, eq=False)
class Encoded:
    """A column of strings as its different `values` and, for each row, the index of its own.

    It can stand wherever an array of strings does; only who knows of it saves the strings.
    """

    values: Sequence[str]
    codes: npt.NDArray[np.integer[Any]]

    def __len__(self) -> int:
        """Rows."""
        return len(self.codes)

    def __getitem__(self, rows: slice) -> Encoded:
        """Some of its rows."""
        return Encoded(self.values, self.codes[rows])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The strings, dtype object, shape [rows]."""
        if copy is False:
            raise ValueError("an encoded column has no array of strings to share")
        strings: npt.NDArray[Any] = np.array(self.values, _OBJECT)[self.codes]
        return strings.astype(dtype or _OBJECT, copy=False)

    def as_column(self) -> npt.NDArray[Any]:
        """Itself, as the array that it stands for."""
        return cast("npt.NDArray[Any]", self)

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of its array."""
        return _OBJECT

    def tolist(self) -> list[str]:
        """The strings."""
        found: list[str] = np.asarray(self).tolist()
        return found
