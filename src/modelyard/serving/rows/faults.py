"""The slow look at a body that the decoder refused: every fault, by the name of its field.

Values are never quoted. Names of fields are, when they can be shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from modelyard.contract import Contract, Value
from modelyard.errors import did_you_mean
from modelyard.serving.rows.json_text import Object, parse_json, shown
from modelyard.serving.rows.limits import Size
from modelyard.serving.rows.problem import Problem

MAX_FAULTS = 200
"""Faults that one answer lists; the look at a body ends there."""

_HINTS = 3  # near names are looked for so often in a row, because that takes its time
_LISTED_NAMES = 10
_LONGEST_NAME = 128

Fault = dict[str, Any]


def examine(
    body: bytes, contract: Contract, size: Size, max_depth: int
) -> list[Mapping[str, Value]]:
    """The rows in `body`, when it has no fault.

    Raises:
        Problem: 400 when it is not JSON, 413 for too many rows, 422 naming each fault.
    """
    value = parse_json(body, max_depth)
    one = isinstance(value, Object)
    if not one and not isinstance(value, list):
        raise faulty([fault([], "must be an object, or a list of objects")])
    rows = [value] if one else value
    if not rows:
        raise faulty([fault([], "must hold at least one row")])
    size.check_rows(len(rows))
    refuse(
        chain.from_iterable(
            _row_faults(row, contract, [] if one else [index]) for index, row in enumerate(rows)
        )
    )
    return rows


def refuse(found: Iterable[Fault]) -> None:
    """Raise the 422 `Problem` that lists the faults, when there are any."""
    if faults := list(islice(found, MAX_FAULTS + 1)):
        raise faulty(faults)


def _row_faults(row: object, contract: Contract, place: list[str | int]) -> Iterator[Fault]:
    if not isinstance(row, Object):
        yield fault(place, "must be an object")
        return
    for name in row.repeated:
        yield fault([*place, shown(name)], "stands more than once")
    for feature in contract.features:
        if feature.name not in row:
            yield fault([*place, feature.name], "is required")
        elif message := feature.fault(row[feature.name]):
            yield fault([*place, feature.name], message)
    yield from unknown_names(row, contract, place)


def unknown_names(
    names: Iterable[str], contract: Contract, place: list[str | int]
) -> Iterator[Fault]:
    """A fault for each name that is no feature's, with a hint where one is near."""
    known = set(contract.names)
    unknown = [name for name in names if name not in known]
    for index, name in enumerate(unknown):
        searched = index < _HINTS and len(name) <= _LONGEST_NAME
        hint = did_you_mean(name, contract.names) if searched else ""
        yield fault([*place, shown(name)], f"is not a feature of this model.{hint}")


def fault(place: list[str | int], message: str) -> Fault:
    """One fault at a place in the body."""
    return {"loc": ["body", *place], "msg": message}


def faulty(faults: list[Fault]) -> Problem:
    """The 422 that lists `faults`."""
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
