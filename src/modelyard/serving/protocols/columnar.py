"""Columnar JSON on `/predict`: `{"columns": {"amount": [1.5, 2], "hour": [9, 23]}}`.

One list a feature, all of the same length; the answer is that of a list of rows.
"""

from __future__ import annotations

from modelyard.scoring.column import EncodedColumns
from modelyard.scoring.rows.columns import check_columns
from modelyard.scoring.rows.faults import Fault, RowsRefusedError, refuse, shown
from modelyard.serving.protocols.exchange import ModelSpec
from modelyard.serving.protocols.json_text import UNDECODABLE, JsonObject, parse_json
from modelyard.serving.protocols.tables import check_lengths

KEY = "columns"


def read_columnar(spec: ModelSpec, body: bytes) -> EncodedColumns:
    """The columns in `body`.

    Raises:
        Problem: 400 when it is not JSON, 413 for too many rows.
        RowsRefusedError: names each fault.
    """
    try:
        columns = spec.columns_decoder.decode(body)
    except UNDECODABLE:
        columns = None
    if columns is not None:
        spec.limits.batch.check_rows(len(next(iter(columns.values()))))
        return columns
    # the slow look, which names every fault
    value = parse_json(body, spec.limits.max_depth)
    given = value[KEY]
    refuse(Fault([shown(name)], "is not allowed beside columns") for name in value if name != KEY)
    if not isinstance(given, JsonObject) or value.repeated:
        raise RowsRefusedError([Fault([KEY], "must be one object with a list for each feature")])
    refuse(Fault([KEY, shown(name)], "appears more than once") for name in given.repeated)
    refuse(
        Fault([KEY, shown(name)], "must be a list of values")
        for name, values in given.items()
        if not isinstance(values, list)
    )
    check_lengths(given, [KEY])
    spec.limits.batch.check_rows(len(next(iter(given.values()), ())))
    return check_columns(given, spec.contract, [KEY])
