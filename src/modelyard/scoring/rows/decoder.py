"""From a request body to columns: a strict decoder that is generated from the contract.

It takes well-formed requests only, in a microsecond. Whatever it refuses is examined again by
`faults.py`, which names every fault; so what is accepted here and what has no fault there must be
the same (a test compares the two).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from modelyard.contract import Contract, Feature, FeatureType, Value
from modelyard.scoring.column import Array, Column, EncodedColumns, EncodedStrings

Row = msgspec.Struct
Table = Sequence[Row] | EncodedColumns
"""What a request asks about: rows, or columns that keep the contract."""

_INT64 = (-(2**63), 2**63 - 1)
_COLON = ord(":")
_BYTE_CODES = 256


class RowDecoder:
    """Decodes bodies, one row or a list of rows, and turns rows into columns.

    Attributes:
        row_type: what each row is decoded as; `/openapi.json` shows its schema.
    """

    def __init__(self, contract: Contract) -> None:
        self._width = len(contract.features)
        self._plan = [(f.name, np.dtype(f.type.dtype)) for f in contract.features]
        row: Any = row_type(contract)
        self.row_type: type[Row] = row
        self._decode = msgspec.json.Decoder(row | list[row]).decode

    def decode(self, body: bytes) -> Sequence[Row]:
        """The rows in `body`.

        Raises:
            json_text.UNDECODABLE: not JSON, or a row that does not keep the contract.
        """
        value: Any = self._decode(body)
        return value if type(value) is list else (value,)

    def has_single_keys(self, body: bytes, rows: Sequence[Row]) -> bool:
        """True when no key stands twice in `body`; False when that needs a closer look.

        Every row has all its keys, so a body with as many colons as keys has each key once; one
        with more holds a key twice, or a colon in a string.
        """
        return body.count(b":") == self._width * len(rows)

    def rows(self, values: Iterable[Mapping[str, Value]]) -> Sequence[Row]:
        """Rows from values that were already found to keep the contract."""
        names = [name for name, _ in self._plan]
        return [self.row_type(*(row[name] for name in names)) for row in values]

    def rows_of(self, lists: Sequence[Sequence[Value]]) -> Sequence[Row]:
        """The same from a list for each feature, in the order of the contract."""
        return [self.row_type(*values) for values in zip(*lists, strict=True)]

    def columns(self, rows: Sequence[Row]) -> EncodedColumns:
        """One array a feature, in the order of `rows`."""
        by_feature = zip(*map(msgspec.structs.astuple, rows), strict=True)
        return {
            name: np.array(values, dtype)
            for (name, dtype), values in zip(self._plan, by_feature, strict=True)
        }


def row_count(table: Table) -> int:
    """Rows of `table`."""
    return len(next(iter(table.values()))) if isinstance(table, dict) else len(table)


def row_type(contract: Contract) -> type[Row]:
    """A struct with one required field a feature; it knows no other field."""
    fields = [(f"f{index}", _annotation(f)) for index, f in enumerate(contract.features)]
    return msgspec.defstruct(
        "Row",
        fields,
        rename={f"f{index}": name for index, name in enumerate(contract.names)},
        forbid_unknown_fields=True,
        gc=False,
    )


def _annotation(feature: Feature) -> Any:
    match feature.type:
        case FeatureType.NUMBER:
            limits: dict[str, Any] = {"ge": feature.minimum, "le": feature.maximum}
            return Annotated[float, msgspec.Meta(**limits)]
        case FeatureType.INTEGER:
            low, high = _INT64
            if feature.minimum is not None:
                low = max(low, math.ceil(feature.minimum))
            if feature.maximum is not None:
                high = min(high, math.floor(feature.maximum))
            return Annotated[int, msgspec.Meta(ge=low, le=high)]
        case FeatureType.BOOLEAN:
            return bool
        case FeatureType.CATEGORY if not feature.allow_unknown:
            return Literal[feature.categories]
        case _:
            return Annotated[str, msgspec.Meta(max_length=feature.max_length)]


class ColumnsDecoder:
    """Decodes columnar JSON, `{"columns": {name: [value, …], …}}`, into columns.

    Attributes:
        body_type: what each body is decoded as; `/openapi.json` shows its schema.
    """

    def __init__(self, contract: Contract) -> None:
        self._width = len(contract.features)
        self._plan = [(f.name, _packer(f)) for f in contract.features]
        fields = [(f"f{i}", list[_bare(f)]) for i, f in enumerate(contract.features)]  # type: ignore[misc]  # made at run time
        lists = msgspec.defstruct(
            "Lists",
            fields,
            rename={f"f{index}": name for index, name in enumerate(contract.names)},
            forbid_unknown_fields=True,
        )
        self.body_type = msgspec.defstruct(
            "Columns", [("columns", lists)], forbid_unknown_fields=True
        )
        self._decode = msgspec.json.Decoder(self.body_type).decode

    def decode(self, body: bytes) -> EncodedColumns | None:
        """The columns in `body`; None when a closer look is needed.

        Raises:
            json_text.UNDECODABLE: not JSON, or a value that does not keep the contract.
        """
        lists = msgspec.structs.astuple(self._decode(body).columns)  # type: ignore[attr-defined]
        if len(set(map(len, lists))) != 1 or not lists[0]:
            return None
        if _colons(body) != self._width + 1:  # a key twice, or a colon in a string
            return None
        columns: EncodedColumns = {}
        for (name, pack), values in zip(self._plan, lists, strict=True):
            column = pack(values)
            if column is None:
                return None
            columns[name] = column
        return columns


def _bare(feature: Feature) -> Any:
    """Its type without its range, which is asked of the whole column, in a tenth of the time."""
    if feature.type is FeatureType.NUMBER:
        return float
    return int if feature.type is FeatureType.INTEGER else _annotation(feature)


def _colons(body: bytes) -> int:
    """`body.count(b":")`, which takes five times as long for many bytes."""
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == _COLON))


def _packer(feature: Feature) -> Callable[[list[Any]], Column | None]:
    """Makes a column of values, by the shortest way for their type; None when one is no good."""
    match feature.type:
        case FeatureType.NUMBER | FeatureType.INTEGER:
            return partial(_numbers, feature, "d" if feature.type is FeatureType.NUMBER else "q")
        case FeatureType.BOOLEAN:
            return lambda values: np.frombuffer(bytes(values), np.bool_)
        case FeatureType.CATEGORY if (
            not feature.allow_unknown and len(feature.categories) <= _BYTE_CODES
        ):
            codes = {value: code for code, value in enumerate(feature.categories)}
            return lambda v: EncodedStrings(feature.categories, _codes(codes, v))
        case _:
            return lambda values: np.array(values, object)


def _numbers(feature: Feature, code: str, values: list[Any]) -> Array | None:
    try:
        # a third of the time that an array takes
        packed = struct.pack(f"{len(values)}{code}", *values)
    except struct.error:  # a whole number of more than 64 bits
        return None
    column = np.frombuffer(packed, feature.type.dtype)
    low, high = feature.minimum, feature.maximum
    is_low = low is not None and column.min().item() < low
    is_high = high is not None and column.max().item() > high
    return None if is_low or is_high else column


def _codes(codes: Mapping[str, int], values: list[str]) -> npt.NDArray[np.uint8]:
    if len(values) == 1:
        return np.array([codes[values[0]]], np.uint8)
    # one call for all look-ups: twice as fast as one for each
    return np.frombuffer(bytes(itemgetter(*values)(codes)), np.uint8)
