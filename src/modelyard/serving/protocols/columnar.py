"""Columnar JSON on `/predict`: `{"columns": {"amount": [1.5, 2], "hour": [9, 23]}}`.

One list a feature, all of the same length; the answer is that of a list of rows.
"""

from __future__ import annotations

from modelyard.scoring.rows.columns import RawColumn, check_columns
from modelyard.scoring.rows.decoder import Columns
from modelyard.scoring.rows.faults import Fault, Place, RowsRefusedError, refuse, shown
from modelyard.serving.protocols.exchange import ModelSpec
from modelyard.serving.protocols.json_text import UNDECODABLE, Object, parse_json

KEY = "columns"


def read_columnar(spec: ModelSpec, body: bytes) -> Columns:
    """The columns in `body`; raises the error that says what is wrong with it."""
    try:
        columns = spec.columns_decoder.decode(body)
    except UNDECODABLE:
        columns = None
    if columns is None:
        return _examine(spec, body)
    spec.limits.batch.check_rows(len(next(iter(columns.values()))))
    return columns


def _examine(spec: ModelSpec, body: bytes) -> Columns:
    """The slow look, which names every fault."""
    value = parse_json(body, spec.limits.max_depth)
    given = value[KEY]
    refuse(Fault([shown(name)], "stands beside the columns") for name in value if name != KEY)
    if not isinstance(given, Object) or value.repeated:
        raise RowsRefusedError([Fault([KEY], "must be one object with a list for each feature")])
    refuse(Fault([KEY, shown(name)], "stands more than once") for name in given.repeated)
    refuse(
        Fault([KEY, shown(name)], "must be a list of values")
        for name, values in given.items()
        if not isinstance(values, list)
    )
    check_lengths(given, [KEY])
    rows = len(next(iter(given.values()), ()))
    spec.limits.batch.check_rows(rows)
    return check_columns(given, spec.contract, [KEY])


def check_lengths(given: dict[str, RawColumn] | Object, place: Place) -> None:
    """Refuse columns that are empty, or not as long as each other, with a `RowsRefusedError`."""
    lengths = {name: len(values) for name, values in given.items()}
    rows = max(lengths.values(), default=1)
    if rows == 0:
        raise RowsRefusedError([Fault(place, "must hold at least one row")])
    refuse(
        Fault([*place, shown(name)], f"must have as many rows as the longest column, {rows}")
        for name, length in lengths.items()
        if length != rows
    )
