"""The same for MLflow's scoring protocol: four layouts of JSON, and CSV, with lossless casts."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from io import StringIO
from typing import Any

from support.fuzz.reference import (
    FEATURES,
    Lists,
    Refused,
    Sizes,
    Unclear,
    flat,
    parse,
    predictions,
    within,
)

_NUMBER = re.compile(
    r"[+-]?(\d{1,400}\.?\d{0,400}|\.\d{1,400})(e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE
)
_WHOLE = re.compile(r"[+-]?\d{1,30}(\.0*)?", re.ASCII)
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def layouts(body: bytes, sizes: Sizes) -> Lists:
    """MLflow's four layouts."""
    within(len(body), sizes.body)
    value = parse(body, sizes.depth)
    known = ("dataframe_split", "dataframe_records", "instances", "inputs")
    if not isinstance(value, dict) or sum(name in value for name in known) != 1:
        raise Refused
    if not isinstance(value.get("params"), dict | None):
        raise Refused
    (layout,) = (name for name in known if name in value)
    content = value[layout]
    if layout == "dataframe_split":
        if not isinstance(content, dict) or not {"columns", "data"} <= set(content):
            raise Refused
        return _cast(_table(content["columns"], content["data"]), sizes)
    if layout == "inputs" and isinstance(content, dict):
        return _cast(_inputs(content), sizes)
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise Refused
    names = {name for row in content for name in row if name in FEATURES}
    if not content or not all(names <= set(row) for row in content):
        raise Refused
    return _cast({name: [row[name] for row in content] for name in names}, sizes)


def _inputs(content: dict[str, Any]) -> Lists:
    if not any(isinstance(column, list) for column in content.values()):
        return {name: [value] for name, value in content.items()}
    if not all(isinstance(column, list) for column in content.values()):
        raise Refused
    return {name: flat(column) for name, column in content.items()}


def _table(names: Any, rows: Any) -> Lists:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused
    if len(set(names)) != len(names) or not isinstance(rows, list):
        raise Refused
    if not all(isinstance(row, list) and len(row) == len(names) for row in rows):
        raise Refused
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def table_of_text(body: bytes, sizes: Sizes) -> Lists:
    """CSV."""
    within(len(body), sizes.body)
    try:
        text = body.decode("utf-8-sig")
        lines = [line for line in csv.reader(StringIO(text), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused from error
    if not lines:
        raise Refused
    return _cast(_table(lines[0], lines[1:]), sizes)


def _cast(lists: Lists, sizes: Sizes) -> Lists:
    known = {name: values for name, values in lists.items() if name in FEATURES}
    within(max(map(len, known.values()), default=0), sizes.rows)
    doubts: list[Any] = []
    cast = {name: [_cast_value(name, v, doubts) for v in values] for name, values in known.items()}
    if doubts:
        raise Unclear(predictions(cast))
    return cast


def _cast_value(name: str, value: Any, doubts: list[Any]) -> Any:  # noqa: PLR0911 - a type each
    """`value` in the feature's type where nothing is lost."""
    kind = FEATURES[name]["type"]
    if kind == "number" and isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            doubts += [value] * any(c.isdigit() and not c.isascii() for c in value)
            return _lenient(float, value)
        return float(value)
    if kind == "integer":
        if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
            return int(value)
        if isinstance(value, str):
            if not _WHOLE.fullmatch(value):
                doubts += [value] * any(c.isdigit() and not c.isascii() for c in value)
                return _lenient(int, value.partition(".")[0])
            return int(value.partition(".")[0])
    if kind == "boolean":
        if type(value) in (int, float) and value in (0, 1):
            return bool(value)
        return _WORDS.get(value, value) if isinstance(value, str) else value
    if kind in ("string", "category") and type(value) is int:
        return str(value)
    return value


def _lenient(read: Callable[[str], Any], text: str) -> Any:
    """What Python makes of digits of other scripts, where the text is nothing but those."""
    if text.isascii() or text != text.strip() or "_" in text:
        return text
    try:
        return read(text)
    except ValueError:
        return text
