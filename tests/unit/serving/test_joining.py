"""Joined and cut again, every request has what is its own."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.contract import Contract
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.scoring.runner import RunnerError
from modelyard.serving.web.joining import cut, join, resolve
from support.models.toy import CONTRACT, ROW

DECODER = RowDecoder(Contract.model_validate(CONTRACT))


@given(
    plan=st.lists(
        st.tuples(st.booleans(), st.lists(st.integers(0, 999), min_size=1, max_size=4)),
        min_size=1,
        max_size=8,
    )
)
def test_each_table_gets_the_predictions_of_its_own_rows(plan: list[tuple[bool, list[int]]]):
    """Rows and columns in any order."""
    tables = []
    for is_columns, amounts in plan:
        rows = DECODER.rows([ROW | {"amount": amount, "note": f"n{amount}"} for amount in amounts])
        tables.append(DECODER.columns(rows) if is_columns else rows)
    columns = join(tables, DECODER)
    expected = [amount for _, amounts in plan for amount in amounts]
    assert columns.keys() == ROW.keys()
    assert columns["amount"].tolist() == expected
    assert columns["note"].tolist() == [f"n{amount}" for amount in expected]
    assert columns["is online"].dtype == np.bool_
    parts = [part.tolist() for part in cut(np.array(expected), tables)]
    assert parts == [amounts for _, amounts in plan]


def test_class_probabilities_are_cut_by_row():
    tables = [DECODER.rows([ROW] * n) for n in (2, 1)]
    first, second = cut(np.arange(6).reshape(3, 2), tables)
    assert (first.tolist(), second.tolist()) == ([[0, 1], [2, 3]], [[4, 5]])


def test_a_future_that_nobody_waits_for_is_left_alone():
    async def main() -> None:
        gone: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        gone.cancel()
        resolve(gone, np.zeros(1))
        resolve(gone, RunnerError("late"))
        here: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        resolve(here, RunnerError("in time"))
        with pytest.raises(RunnerError, match="in time"):
            await here

    asyncio.run(main())
