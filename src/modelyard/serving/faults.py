"""The slow look at a body that the decoder refused: every fault, by the name of its field.

Values are never quoted. Names of fields are, when they can be shown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

from modelyard.contract import Contract, Value
from modelyard.errors import did_you_mean
from modelyard.serving.problem import Problem

MAX_FAULTS = 200
"""Faults that one answer lists; the look at a body ends there."""

_HINTS = 3  # near names are looked for so often in a row, because that takes its time
_LISTED_NAMES = 10
_LONGEST_NUMBER = 400  # digits; every float fits, and int() of more is refused by Python
_HUGE: int = 10**_LONGEST_NUMBER
_LONGEST_NAME = 128

Fault = dict[str, Any]


class _Object(dict[str, Any]):
    """A JSON object that knows which of its keys stood twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated: list[str] = []
        if len(self) != len(pairs):
            times = Counter(name for name, _ in pairs)
            self.repeated = [name for name, count in times.items() if count > 1]


def examine(body: bytes, contract: Contract, max_rows: int) -> list[Mapping[str, Value]]:
    """The rows in `body`, when it has no fault.

    Raises:
        Problem: 400 when it is not JSON, 413 for too many rows, 422 naming each fault.
    """
    value = _parse(body)
    one = isinstance(value, _Object)
    if not one and not isinstance(value, list):
        raise _faulty([_fault([], "must be an object, or a list of objects")])
    rows = [value] if one else value
    if not rows:
        raise _faulty([_fault([], "must hold at least one row")])
    check_row_count(len(rows), max_rows)
    found = chain.from_iterable(
        _row_faults(row, contract, [] if one else [index]) for index, row in enumerate(rows)
    )
    if faults := list(islice(found, MAX_FAULTS + 1)):
        raise _faulty(faults)
    return rows


def check_row_count(rows: int, max_rows: int) -> None:
    """Refuse more than `max_rows` rows with a 413 `Problem`."""
    if rows > max_rows:
        raise Problem(
            "too-many-rows",
            413,
            "Too many rows",
            f"A request may have at most {max_rows} rows, found {rows}.",
            fix="Send fewer rows at once, or raise SERVING_MAX_ROWS.",
        )


def _parse(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_json(f"it is not UTF-8 at byte {error.start}") from error
    try:
        return json.loads(text, object_pairs_hook=_Object, parse_int=_integer)
    except json.JSONDecodeError as error:
        where = f"{error.msg} at line {error.lineno}, column {error.colno}"
        raise _not_json(where if text.strip() else "it is empty") from error
    except RecursionError as error:
        raise _not_json("it is nested too deeply") from error


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        return -_HUGE if digits.startswith("-") else _HUGE
    return int(digits)


def _row_faults(row: object, contract: Contract, place: list[str | int]) -> Iterator[Fault]:
    if not isinstance(row, _Object):
        yield _fault(place, "must be an object")
        return
    for name in row.repeated:
        yield _fault([*place, _shown(name)], "stands more than once")
    for feature in contract.features:
        if feature.name not in row:
            yield _fault([*place, feature.name], "is required")
        elif message := feature.fault(row[feature.name]):
            yield _fault([*place, feature.name], message)
    known = set(contract.names)
    unknown = [name for name in row if name not in known]
    for index, name in enumerate(unknown):
        searched = index < _HINTS and len(name) <= _LONGEST_NAME
        hint = did_you_mean(name, contract.names) if searched else ""
        yield _fault([*place, _shown(name)], f"is not a feature of this model.{hint}")


def _fault(place: list[str | int], message: str) -> Fault:
    return {"loc": ["body", *place], "msg": message}


def _shown(name: str) -> str:
    """A field's name as an answer may show it."""
    if len(name) <= _LONGEST_NAME and name.isprintable():
        return name
    return "(a name that cannot be shown)"


def _not_json(why: str) -> Problem:
    return Problem(
        "malformed-json", 400, "The body is not JSON", f"The body must be JSON in UTF-8: {why}."
    )


def _faulty(faults: list[Fault]) -> Problem:
    names = dict.fromkeys(".".join(map(str, fault["loc"][1:])) or "the body" for fault in faults)
    listed = ", ".join(list(names)[:_LISTED_NAMES]) + (", …" if len(names) > _LISTED_NAMES else "")
    more = f" Only the first {MAX_FAULTS} faults are listed." if len(faults) > MAX_FAULTS else ""
    return Problem(
        "invalid-input",
        422,
        "The input does not keep the model's contract",
        f"Not acceptable: {listed}.{more}",
        fix="/docs shows what the served model takes.",
        errors=faults[:MAX_FAULTS],
    )
