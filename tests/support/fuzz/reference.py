"""What the toy model answers to a body: the documentation in simple Python, none of the server's.

Where the documents leave it open whether something is taken, `Verdict.must` is false: then it may
be refused, and a 200 still has to be right.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from support.models.toy import CONTRACT

LONGEST_NUMBER = 400
FEATURES = {feature["name"]: feature for feature in CONTRACT["features"]}

Lists = Mapping[str, list[Any]]


class Refused(Exception):  # noqa: N818 - a verdict, not an error
    """Such a request gets no predictions."""


class Unclear(Exception):  # noqa: N818
    """The documents do not say what is answered."""


@dataclass(frozen=True)
class Sizes:
    """The limits of a server: bytes and rows of a request, of a batch, and depth."""

    body: int = 2**20
    rows: int = 1000
    batch_body: int = 32 * 2**20
    batch_rows: int = 1_000_000
    depth: int = 32


@dataclass(frozen=True)
class Verdict:
    """The numbers of the answer; None where there must be none."""

    numbers: list[float] | None
    must: bool = True


def judge(read: Callable[[], Lists]) -> Verdict:
    """The verdict on what `read` reads."""
    try:
        return Verdict(predictions(read()))
    except Refused:
        return Verdict(None)
    except Unclear as unclear:
        return Verdict(unclear.args[0] if unclear.args else None, must=False)


def predictions(lists: Lists) -> list[float]:
    """`1000 + amount` in float32, for columns that keep the contract."""
    if set(lists) != set(FEATURES):
        raise Refused
    lengths = set(map(len, lists.values()))
    if len(lengths) > 1 or lengths == {0}:
        raise Refused
    if not all(keeps(name, value) for name, values in lists.items() for value in values):
        raise Refused
    return [single(1000.0 + amount) for amount in lists["amount"]]


def single(value: float) -> float:
    """`value` in four bytes."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def keeps(name: str, value: Any) -> bool:
    """Whether a value is one of the feature's."""
    feature = FEATURES[name]
    match feature["type"]:
        case "number" | "integer":
            types = (int, float) if feature["type"] == "number" else (int,)
            return type(value) in types and feature["minimum"] <= value <= feature["maximum"]
        case "boolean":
            return type(value) is bool
        case "category":
            return isinstance(value, str) and value in feature["categories"]
        case _:
            is_text = type(value) is str and len(value) <= feature["max_length"]
            return is_text and not re.search("[\ud800-\udfff]", value)


# -- JSON ------------------------------------------------------------------------------------------


def parse(body: bytes, depth: int) -> Any:
    """JSON in UTF-8 without repeated keys, nested no deeper than `depth`."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise Refused
        return dict(pairs)

    def whole(digits: str) -> int:
        return int(digits) if len(digits) <= LONGEST_NUMBER else 10**LONGEST_NUMBER

    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=unique, parse_int=whole)
    except (ValueError, RecursionError) as error:
        raise Refused from error
    if _depth(value) > depth:
        raise Refused
    return value


def _depth(value: Any) -> int:
    level, levels = [value], 0
    while level := [inner for inner in level if isinstance(inner, dict | list)]:
        levels += 1
        level = [v for o in level for v in (o.values() if isinstance(o, dict) else o)]
    return levels


def _columns(rows: list[dict[str, Any]]) -> Lists:
    return {name: [row[name] for row in rows] for name in rows[0]}


# -- /predict --------------------------------------------------------------------------------------


def native(body: bytes, sizes: Sizes) -> Lists:
    """A row, rows, or columns."""
    is_batch = re.match(rb'\s*\{\s*"columns"\s*:', body) is not None
    within(len(body), sizes.batch_body if is_batch else sizes.body)
    value = parse(body, sizes.depth)
    if isinstance(value, dict) and set(value) == {"columns"}:
        lists = value["columns"]
        if not isinstance(lists, dict) or not all(isinstance(v, list) for v in lists.values()):
            raise Refused
        if not is_batch:
            raise Unclear  # the key is spelled with escapes
        within(max(map(len, lists.values()), default=0), sizes.batch_rows)
        return lists
    rows = value if isinstance(value, list) else [value]
    if not rows or not all(isinstance(row, dict) and set(row) == set(FEATURES) for row in rows):
        raise Refused
    within(len(rows), sizes.rows)
    return _columns(rows)


def within(found: int, most: int) -> None:
    if found > most:
        raise Refused


def flat(column: list[Any]) -> list[Any]:
    """`[[1], [2]]` as `[1, 2]`."""
    if column and all(isinstance(value, list) and len(value) == 1 for value in column):
        return [value[0] for value in column]
    return column


def is_finite(numbers: Iterable[float]) -> bool:
    """Whether they are answers that the toy can give."""
    return all(math.isfinite(number) and 1000 <= number <= 1999 for number in numbers)
