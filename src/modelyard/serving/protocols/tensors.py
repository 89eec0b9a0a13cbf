"""Tensors of the Open Inference Protocol V2, in JSON and in the binary extension.

A model's features are one tensor each, with the shape `[rows]` or `[rows, 1]`.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.contract import FeatureType
from modelyard.scoring.rows.columns import RawColumn
from modelyard.serving.problem import Problem
from modelyard.serving.protocols.body import unreadable

DTYPES = {
    "BOOL": "?",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "BYTES": "O",
}
DATATYPES = {
    FeatureType.NUMBER: "FP64",
    FeatureType.INTEGER: "INT64",
    FeatureType.BOOLEAN: "BOOL",
    FeatureType.STRING: "BYTES",
    FeatureType.CATEGORY: "BYTES",
}
"""The datatype that the metadata names; any that can be widened to it is taken."""

_TYPES: dict[str, set[type]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {int, float}, "O": {str}}


def rows_in_shape(name: str, shape: Any) -> int:
    """How many rows a tensor of this shape has."""
    if isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape):
        match shape:
            case [rows] | [rows, 1]:
                return int(rows)
    raise bad_tensor(name, "must have the shape [rows] or [rows, 1]")


def dtype_of(name: str, datatype: Any) -> np.dtype[Any]:
    """The numpy dtype of a datatype."""
    if isinstance(datatype, str) and datatype in DTYPES:
        return np.dtype(DTYPES[datatype])
    raise bad_tensor(name, f"must have one of the datatypes {', '.join(DTYPES)}")


def json_values(name: str, dtype: np.dtype[Any], rows: int, data: Any) -> list[Any]:
    """The values in a tensor's `data`, flat or nested, as a flat list."""
    if not isinstance(data, list):
        raise bad_tensor(name, "must have its values in a list called data")
    values: list[Any] = flatten(data) if data and type(data[0]) is list else data
    if len(values) != rows:
        raise bad_tensor(name, f"must have as many values as its shape says, {rows}")
    if not set(map(type, values)) <= _TYPES[dtype.kind]:
        raise bad_tensor(name, "must have values of its datatype")
    return values


def as_datatype(name: str, dtype: np.dtype[Any], values: list[Any]) -> RawColumn:
    """JSON's values in the precision of the datatype: an FP32 has four bytes."""
    try:
        with np.errstate(over="ignore"):  # what becomes infinite is refused with the others
            return np.array(values, dtype)
    except OverflowError as error:
        raise bad_tensor(name, "must have values of its datatype") from error


def from_bytes(
    name: str, dtype: np.dtype[Any], rows: int, data: memoryview, *, as_list: bool
) -> RawColumn:
    """The column in a tensor's bytes: a list for strings, or if `as_list`, else an array."""
    if dtype.kind == "O":
        return _strings(name, rows, data)
    if len(data) != rows * dtype.itemsize:
        raise bad_tensor(name, "must have as many bytes as its shape and its datatype say")
    column = np.frombuffer(data, np.uint8 if dtype.kind == "b" else dtype)
    if dtype.kind == "b":
        column = column.astype(np.bool_)
    return column.tolist() if as_list else column


def to_bytes(predictions: npt.NDArray[Any]) -> bytes:
    """Predictions as the bytes of an FP64 tensor."""
    return predictions.astype("<f8").tobytes()


def bad_tensor(name: str, message: str) -> Problem:
    """400: a tensor is not what it has to be."""
    return unreadable(f"The input {name} {message}.")


def flatten(values: list[Any]) -> list[Any]:
    """`[[1], [2]]`, a column of the shape [rows, 1], as `[1, 2]`; any other as it is."""
    is_nested = all(isinstance(value, list) and len(value) == 1 for value in values)
    return [value[0] for value in values] if is_nested else values


def _strings(name: str, rows: int, data: memoryview) -> list[str]:
    """The strings in `data`, each after its length as a little-endian uint32."""
    values: list[str] = []
    place, end = 0, len(data)
    cut_short = "must have as many strings as its shape says, each after its length"
    try:
        for _ in range(rows):
            (length,) = struct.unpack_from("<I", data, place)
            place += 4 + length
            if place > end:
                raise bad_tensor(name, cut_short)
            values.append(str(data[place - length : place], "utf-8"))
    except struct.error as error:
        raise bad_tensor(name, cut_short) from error
    except UnicodeDecodeError as error:
        raise bad_tensor(name, "must have strings in UTF-8") from error
    if place != end:
        raise bad_tensor(name, cut_short)
    return values
