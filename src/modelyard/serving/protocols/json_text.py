"""JSON from outside, read strictly: no repeated key, no deep nesting, valid UTF-8.

`read_json` is fast where it can be sure; `parse_json` is slow, sees everything and says what is
wrong. NaN and Infinity, which Python's own clients write, become floats: the fields that hold them
are refused by name later.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from modelyard.scoring.rows.faults import shown
from modelyard.serving.problem import Problem

UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a body that is not well formed, or not of the wanted type."""

_LONGEST_NUMBER = 400  # digits: every float has fewer, and Python refuses int() of many more
_HUGE: int = 10**_LONGEST_NUMBER
_decode = msgspec.json.Decoder().decode


class JsonObject(dict[str, Any]):
    """A JSON object that knows which of its keys were repeated.

    Three bytes make one, so it holds nothing more than a `dict` while none was.
    """

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: Sequence[str] = ()
        if len(self) != len(pairs):
            times = Counter(name for name, _ in pairs)
            self.repeated = [name for name, count in times.items() if count > 1]


def read_json(body: bytes, max_depth: int) -> Any:
    """The value in `body`.

    Raises:
        Problem: 400 when it is not JSON, is nested too deeply, or repeats a key.
    """
    try:
        value = _decode(body)
    except UNDECODABLE:
        value = parse_json(body, max_depth)
    else:
        _check_depth(body, value, max_depth)
        # as many colons as keys: no key is repeated (and no string has a colon)
        if body.count(b":") == _count_keys(value):
            return value
        value = parse_json(body, max_depth)
    _refuse_repeated(value)
    return value


def parse_json(body: bytes, max_depth: int) -> Any:
    """The value in `body`, each object of it a `JsonObject`, which tells of repeated keys.

    Raises:
        Problem: 400 when it is not JSON, or is nested too deeply.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_json(f"it is not UTF-8 at byte {error.start}") from error
    try:
        value = json.loads(text, object_pairs_hook=JsonObject, parse_int=_integer)
    except json.JSONDecodeError as error:
        where = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise not_json(where if text.strip() else "it is empty") from error
    except RecursionError as error:
        raise _too_deep(max_depth) from error
    _check_depth(body, value, max_depth)
    return value


def not_json(why: str) -> Problem:
    """400: the body cannot be read."""
    return Problem(
        "malformed-json", 400, "The body is not JSON", f"The body must be JSON in UTF-8: {why}."
    )


def _too_deep(max_depth: int) -> Problem:
    return not_json(f"it is nested more than {max_depth} levels deep")


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        return -_HUGE if digits.startswith("-") else _HUGE
    return int(digits)


def _check_depth(body: bytes, value: Any, max_depth: int) -> None:
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return  # even if each were inside the one before
    level = [value]
    for _ in range(max_depth):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise _too_deep(max_depth)


def _count_keys(value: Any) -> int:
    """How many keys the objects in `value` have; some that are deep in lists may be missed."""
    if type(value) is dict:
        inner = [v for v in value.values() if type(v) in (dict, list)]
        return len(value) + sum(map(_count_keys, inner))
    if type(value) is list and value and type(value[0]) is dict:
        return sum(map(_count_keys, value))
    return 0


def _refuse_repeated(value: Any) -> None:
    waiting = [value]
    while waiting:
        outer = waiting.pop()
        if isinstance(outer, JsonObject) and outer.repeated:
            raise Problem(
                "repeated-key",
                400,
                "A key appears more than once",
                f"Each key of a JSON object must be unique: {shown(outer.repeated[0])} appears "
                "more than once.",
            )
        inner = outer.values() if isinstance(outer, dict) else outer
        if isinstance(outer, dict | list):
            waiting += [v for v in inner if isinstance(v, dict | list)]
