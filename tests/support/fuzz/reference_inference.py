"""The same for the Open Inference Protocol V2, with tensors in JSON and behind it."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import Any

from support.fuzz.reference import FEATURES, Lists, Refused, Sizes, flat, parse, within
from support.models.toy import CONTRACT, NAME

_KINDS = {
    **{f"INT{n}": ("i", n) for n in (8, 16, 32, 64)},
    **{f"UINT{n}": ("u", n) for n in (8, 16, 32, 64)},
    **{f"FP{n}": ("f", n) for n in (16, 32, 64)},
    "BOOL": ("b", 8),
    "BYTES": ("s", 0),
}
_USUAL = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "string": "BYTES", "category": "BYTES"}  # fmt: skip  # noqa: E501
_FORMATS = {("f", 16): "e", ("f", 32): "f", ("f", 64): "d", ("i", 8): "b", ("i", 16): "h",
            ("i", 32): "i", ("i", 64): "q", ("u", 8): "B", ("u", 16): "H", ("u", 32): "I",
            ("u", 64): "Q", ("b", 8): "B"}  # fmt: skip


def tensors(path: str, body: bytes, header: bytes | None, sizes: Sizes) -> Lists:
    """A tensor a feature, in JSON or behind it; `header` says where the JSON ends."""
    if not is_served(path):
        raise Refused
    text, tail = body, b""
    if header is not None:
        if not re.fullmatch(rb"[0-9]{1,18}", header) or int(header) > len(body):
            raise Refused
        text, tail = body[: int(header)], body[int(header) :]
        within(len(body), sizes.batch_body)
    within(len(text), sizes.body)
    question = parse(text, sizes.depth)
    if not isinstance(question, dict) or not isinstance(question.get("inputs"), list):
        raise Refused
    _check_outputs(question)
    found: dict[str, list[Any]] = {}
    most = sizes.rows if header is None else sizes.batch_rows
    for tensor in question["inputs"]:
        name = tensor.get("name") if isinstance(tensor, dict) else None
        if not isinstance(name, str) or name not in FEATURES or name in found:
            raise Refused
        found[name], tail = _values(name, tensor, tail, most)
    if tail:
        raise Refused
    return found


def _values(name: str, tensor: Any, tail: bytes, most: int) -> tuple[list[Any], bytes]:
    """The values of a tensor, and what it leaves of the bytes behind the JSON."""
    rows, datatype = _rows(tensor.get("shape")), tensor.get("datatype")
    within(rows, most)
    if not isinstance(datatype, str) or datatype not in _KINDS or not _can_hold(name, datatype):
        raise Refused
    size = _mapping(tensor.get("parameters")).get("binary_data_size")
    if size is None:
        return _json_tensor(name, datatype, rows, tensor.get("data")), tail
    if type(size) is not int or not 0 <= size <= len(tail) or "data" in tensor:
        raise Refused
    return _binary_tensor(datatype, rows, tail[:size]), tail[size:]


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict | None):
        raise Refused
    return value or {}


def _check_outputs(question: dict[str, Any]) -> None:
    outputs = question.get("outputs")
    if not isinstance(question.get("id"), str | None) or not isinstance(outputs, list | None):
        raise Refused
    flags = [_mapping(question.get("parameters")).get("binary_data_output", False)]
    for output in outputs or ():
        if not isinstance(output, dict) or output.get("name") != CONTRACT["output"]["name"]:
            raise Refused
        parameters = _mapping(output.get("parameters"))
        if parameters.get("classification"):
            raise Refused
        flags.append(parameters.get("binary_data", False))
    if not all(isinstance(flag, bool) for flag in flags):
        raise Refused


def _rows(shape: Any) -> int:
    is_list = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not is_list or not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
        raise Refused
    return shape[0]


def _can_hold(name: str, datatype: str) -> bool:
    kinds = {"number": "iuf", "integer": "iu", "boolean": "b", "string": "s", "category": "s"}
    return _KINDS[datatype][0] in kinds[FEATURES[name]["type"]]


def _json_tensor(name: str, datatype: str, rows: int, data: Any) -> list[Any]:
    kind, bits = _KINDS[datatype]
    if not isinstance(data, list):
        raise Refused
    values = flat(data)
    types = {"i": {int}, "u": {int}, "f": {int, float}, "b": {bool}, "s": {str}}[kind]
    if len(values) != rows or not set(map(type, values)) <= types:
        raise Refused
    if datatype == _USUAL[FEATURES[name]["type"]] or kind in "bs":
        return values
    try:
        code = f"<{len(values)}{_FORMATS[kind, bits]}"
        return list(struct.unpack(code, struct.pack(code, *values)))
    except (struct.error, OverflowError) as error:
        raise Refused from error


def _binary_tensor(datatype: str, rows: int, data: bytes) -> list[Any]:
    kind, bits = _KINDS[datatype]
    if kind == "s":
        return list(_texts(rows, data))
    if len(data) != rows * bits // 8:
        raise Refused
    values = struct.unpack(f"<{rows}{_FORMATS[kind, bits]}", data)
    return [bool(value) for value in values] if kind == "b" else list(values)


def _texts(rows: int, data: bytes) -> Iterable[str]:
    place = 0
    for _ in range(rows):
        if place + 4 > len(data):
            raise Refused
        (length,) = struct.unpack_from("<I", data, place)
        place += 4 + length
        if place > len(data):
            raise Refused
        try:
            yield data[place - length : place].decode("utf-8")
        except UnicodeDecodeError as error:
            raise Refused from error
    if place != len(data):
        raise Refused


ADDRESS = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer", re.DOTALL)


def is_served(path: str) -> bool:
    """Whether a V2 address names the model and the version that are served."""
    found = ADDRESS.fullmatch(path)
    return found is not None and found[1] == NAME and found[2] in (None, "1")
