"""One call of a model for several requests: their tables joined, its predictions cut again."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import cast

from modelyard.scoring.column import EncodedColumns, concatenate
from modelyard.scoring.rows.decoder import Row, RowDecoder, Table, row_count
from modelyard.scoring.runner import Predictions

Outcome = Predictions | Exception
"""The predictions for a request's rows, or why there are none."""


def join(tables: Sequence[Table], decoder: RowDecoder) -> EncodedColumns:
    """The columns of all `tables`, which are not empty; adjacent rows share one conversion."""
    if len(tables) == 1:
        table = tables[0]
        return table if isinstance(table, dict) else decoder.columns(table)
    parts: list[EncodedColumns] = []
    for is_columns, group in groupby(tables, key=lambda table: type(table) is dict):
        if is_columns:
            parts += cast("Iterator[EncodedColumns]", group)
        else:
            rows = [row for table in cast("Iterator[Sequence[Row]]", group) for row in table]
            parts.append(decoder.columns(rows))
    if len(parts) == 1:
        return parts[0]
    return {name: concatenate([part[name] for part in parts]) for name in parts[0]}


def cut(predictions: Predictions, tables: Sequence[Table]) -> Iterator[Predictions]:
    """The predictions for each of the `tables` that were joined, in their order."""
    start = 0
    for table in tables:
        end = start + row_count(table)
        yield predictions[start:end]
        start = end


def resolve(future: Future[Predictions], outcome: Outcome) -> None:
    """Give `future` its outcome, unless its deadline has passed or its client has gone."""
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
