"""The slow look at a JSON body that the decoder refused: names the field of every fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from modelyard.contract import Contract, Value
from modelyard.scoring.rows.faults import (
    Fault,
    Place,
    RowsRefusedError,
    refuse,
    shown,
    unknown_names,
)
from modelyard.serving.limits import Size
from modelyard.serving.protocols.json_text import JsonObject, parse_json


def examine(
    body: bytes, contract: Contract, size: Size, max_depth: int
) -> list[Mapping[str, Value]]:
    """The rows in `body`, if it has no fault.

    Raises:
        Problem: 400 when it is not JSON, 413 for too many rows.
        RowsRefusedError: names each fault.
    """
    value = parse_json(body, max_depth)
    one = isinstance(value, JsonObject)
    if not one and not isinstance(value, list):
        raise RowsRefusedError([Fault([], "must be an object, or a list of objects")])
    rows = [value] if one else value
    if not rows:
        raise RowsRefusedError([Fault([], "must hold at least one row")])
    size.check_rows(len(rows))
    refuse(
        chain.from_iterable(
            _row_faults(row, contract, [] if one else [index]) for index, row in enumerate(rows)
        )
    )
    return rows


def _row_faults(row: object, contract: Contract, place: Place) -> Iterator[Fault]:
    if not isinstance(row, JsonObject):
        yield Fault(place, "must be an object")
        return
    for name in row.repeated:
        yield Fault([*place, shown(name)], "appears more than once")
    for feature in contract.features:
        if feature.name not in row:
            yield Fault([*place, feature.name], "is required")
        elif message := feature.fault(row[feature.name]):
            yield Fault([*place, feature.name], message)
    yield from unknown_names(row, contract, place)
