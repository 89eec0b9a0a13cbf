"""The columns of a request as a table: a few rows are kept as rows, which is faster for them."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.scoring.rows.columns import RawColumn, check_columns
from modelyard.scoring.rows.decoder import Table
from modelyard.scoring.rows.faults import Fault, Place, RowsRefusedError, refuse, shown
from modelyard.serving.protocols.exchange import ModelSpec

FEW_ROWS = 8
"""Up to this many rows, asking the contract about each value is faster than making arrays."""


def check_table(
    given: Mapping[str, RawColumn], spec: ModelSpec, place: Place, *, ignore_unknown: bool = False
) -> Table:
    """The rows of `given`, or its columns; arguments and errors are those of `check_columns`.

    Rows can also join those of other requests in one call to the model.
    """
    contract = spec.contract
    lists = [given.get(feature.name) for feature in contract.features]
    if ignore_unknown or len(given) == len(lists):
        few = [values for values in lists if type(values) is list and len(values) <= FEW_ROWS]
        if len(few) == len(lists) and not any(
            feature.fault(value)
            for feature, values in zip(contract.features, few, strict=True)
            for value in values
        ):
            return spec.decoder.rows_of(few)
    return check_columns(given, contract, place, ignore_unknown=ignore_unknown)


def check_lengths(given: Mapping[str, RawColumn], place: Place) -> None:
    """Refuse columns without rows, and columns of different lengths.

    Raises:
        RowsRefusedError: names each column that is shorter than the longest.
    """
    lengths = set(map(len, given.values()))
    if lengths == {0}:
        raise RowsRefusedError([Fault(place, "must hold at least one row")])
    if len(lengths) > 1:
        rows = max(lengths)
        refuse(
            Fault([*place, shown(name)], f"must have as many rows as the longest column, {rows}")
            for name, values in given.items()
            if len(values) != rows
        )
