"""Columns of a request as a table: few rows go the way of rows, which is shorter for them."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.scoring.rows.columns import RawColumn, check_columns
from modelyard.scoring.rows.decoder import Table
from modelyard.scoring.rows.faults import Place
from modelyard.serving.protocols.exchange import ModelSpec

FEW_ROWS = 8
"""Up to so many rows, asking the contract for each value is quicker than arrays are."""


def check_table(
    given: Mapping[str, RawColumn], spec: ModelSpec, place: Place, *, ignore_unknown: bool = False
) -> Table:
    """The rows of `given`, or its columns; arguments and errors are those of `check_columns`.

    As rows they also join the rows of other requests in one call of the model.
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
