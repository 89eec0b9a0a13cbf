"""Micro-batches: at once while idle, collected while busy, bounded, one failure at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from modelyard.contract import Contract
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.scoring.runner import RunnerAbsentError, RunnerError, RunnerLostError
from modelyard.serving.web.collector import _LONGEST_WAIT_S, _Queue
from support.models.toy import CONTRACT, ROW

DECODER = RowDecoder(Contract.model_validate(CONTRACT))


class Model:
    """A runner that answers when the test says so."""

    def __init__(self, children: int = 1, batch_rows: int = 100) -> None:
        self.batch_rows = batch_rows
        self.is_absent = False
        self.failure = ""
        self.asked: list[tuple[list[float], Callable[[Any], None]]] = []
        self.batches: list[list[float]] = []
        self._children = children

    @property
    def is_idle(self) -> bool:
        return len(self.asked) < self._children

    def subscribe(self, wake: Callable[[], None]) -> None:
        self.wake = wake

    def on_failure(self, tell: Callable[[], None]) -> None: ...

    def begin(self, columns, done) -> None:
        self.asked.append((columns["amount"].tolist(), done))
        self.batches.append(columns["amount"].tolist())

    def answer(self, outcome: RunnerError | None = None) -> None:
        """Answer the longest waiting call with its own amounts, or with an error."""
        amounts, done = self.asked.pop(0)
        self.wake()
        done(outcome or np.array(amounts))


def rows(*amounts: float):
    return DECODER.rows([ROW | {"amount": a} for a in amounts])


def ask(queue: _Queue, table: Any) -> asyncio.Future[Any]:
    return queue.add(table).predictions


def run(model: Model, work: Callable[[_Queue], Awaitable[None]]) -> list[int]:
    """Do `work` with a queue; the rows of each call."""
    observed: list[int] = []

    async def main() -> None:
        await work(_Queue(model, DECODER, observed.append))

    asyncio.run(main())
    return observed


def test_while_idle_a_request_is_asked_at_once():
    model = Model()

    async def work(queue: _Queue) -> None:
        future = ask(queue, rows(1))
        assert model.batches == [[1]]
        model.answer()
        assert (await future).tolist() == [1]

    assert run(model, work) == [1]


def test_while_busy_requests_are_collected_and_each_gets_its_own():
    model = Model()

    async def work(queue: _Queue) -> None:
        tables = [rows(0), rows(1, 2), DECODER.columns(rows(3)), rows(4)]
        futures = [ask(queue, table) for table in tables]
        model.answer()
        assert model.batches == [[0], [1, 2, 3, 4]]
        model.answer()
        assert [(await f).tolist() for f in futures] == [[0], [1, 2], [3], [4]]

    assert run(model, work) == [1, 4]


def test_a_batch_has_no_more_rows_than_the_runner_takes():
    model = Model(batch_rows=3)

    async def work(queue: _Queue) -> None:
        ask(queue, rows(0))
        for amounts in [(1, 2), (3,), (4, 5), (6, 7, 8, 9)]:
            ask(queue, rows(*amounts))
        for _ in range(4):
            model.answer()
        assert model.batches == [[0], [1, 2, 3], [4, 5], [6, 7, 8, 9]]

    run(model, work)


def test_two_children_are_both_asked():
    model = Model(children=2)

    async def work(queue: _Queue) -> None:
        for n in range(3):
            ask(queue, rows(n))
        assert model.batches == [[0], [1]]

    run(model, work)


def test_where_many_ask_a_batch_waits_for_those_who_were_just_answered_but_not_for_long():
    model = Model()

    async def work(queue: _Queue) -> None:
        ask(queue, rows(0))
        for n in range(1, 11):
            ask(queue, rows(n))
        model.answer()  # ten were waiting, and one will be back
        assert model.batches == [[0]]
        ask(queue, rows(11))
        assert model.batches[1:] == [list(range(1, 12))]
        queue._last_call_s = 60.0
        model.answer()
        ask(queue, rows(12))
        assert model.batches[2:] == []  # eleven are expected
        await asyncio.sleep(_LONGEST_WAIT_S * 4)
        assert model.batches[2:] == [[12]]
        model.answer()
        ask(queue, rows(13))  # the last one was alone: nobody to wait for
        assert model.batches[3:] == [[13]]

    run(model, work)


def test_whoever_has_gone_is_not_asked_for():
    model = Model()

    async def work(queue: _Queue) -> None:
        ask(queue, rows(0))
        gone, stays = ask(queue, rows(1)), ask(queue, rows(2))
        gone.cancel()
        model.answer()
        assert model.batches[1:] == [[2]]
        stays.cancel()
        model.answer()

    run(model, work)


def test_an_error_of_the_model_is_traced_to_the_request_that_causes_it():
    model = Model()

    async def work(queue: _Queue) -> None:
        ask(queue, rows(0))
        futures = [ask(queue, rows(n)) for n in (1, 2, 3)]
        model.answer()
        model.answer(RunnerError("one of them"))
        for n in (1, 2, 3):
            await asyncio.sleep(0)
            assert model.asked[0][0] == [n]
            model.answer(RunnerError("this one") if n == 2 else None)
        assert (await futures[0]).tolist() == [1]
        with pytest.raises(RunnerError, match="this one"):
            await futures[1]
        assert (await futures[2]).tolist() == [3]

    run(model, work)


def test_a_call_that_ended_its_process_is_not_made_again():
    model = Model()

    async def work(queue: _Queue) -> None:
        ask(queue, rows(0))
        futures = [ask(queue, rows(n)) for n in (1, 2)]
        later = asyncio.Future()
        model.answer()
        model.answer(RunnerLostError("it is gone"))
        for future in futures:
            with pytest.raises(RunnerLostError):
                await future
        assert model.asked == []
        later.cancel()

    run(model, work)


def test_when_nothing_runs_the_model_everybody_is_told():
    model = Model(children=0)

    async def work(queue: _Queue) -> None:
        waiting = ask(queue, rows(0))
        assert not waiting.done()
        model.is_absent = True
        model.wake()
        with pytest.raises(RunnerAbsentError):
            await waiting
        with pytest.raises(RunnerAbsentError):
            await ask(queue, rows(1))

    run(model, work)


class FaultyModel(Model):
    """Raises where it is asked for the amount 2, before or after it has begun."""

    def __init__(self, *, has_begun: bool) -> None:
        super().__init__()
        self._has_begun = has_begun

    def begin(self, columns, done) -> None:
        is_faulty = 2 in columns["amount"]
        if not is_faulty or self._has_begun:
            super().begin(columns, done)
        if is_faulty:
            raise ArithmeticError("cannot be asked")


@pytest.mark.parametrize("has_begun", [False, True])
def test_a_call_that_cannot_be_made_costs_only_the_request_that_causes_it(has_begun: bool):
    model = FaultyModel(has_begun=has_begun)

    async def work(queue: _Queue) -> None:
        ask(queue, rows(0))
        futures = [ask(queue, rows(n)) for n in (1, 2, 3)]
        for _ in range(10):
            if model.asked:
                model.answer()
            await asyncio.sleep(0)
        assert (await futures[0]).tolist() == [1]
        with pytest.raises(ArithmeticError, match="cannot be asked"):
            await futures[1]
        assert (await futures[2]).tolist() == [3]
        assert queue._asked == 0

    run(model, work)


def test_a_count_that_fails_costs_only_the_request_that_causes_it():
    model = Model()
    fails = [False, True, True, False]  # the first call, that of both, those of each

    def observe(_: int) -> None:
        if fails.pop(0):
            raise ArithmeticError

    async def main() -> None:
        queue = _Queue(model, DECODER, observe)
        ask(queue, rows(0))
        futures = [ask(queue, rows(n)) for n in (1, 2)]
        model.answer()
        with pytest.raises(ArithmeticError):
            await futures[0]
        model.answer()
        assert (await futures[1]).tolist() == [2]

    asyncio.run(main())


def test_a_table_that_cannot_be_joined_fails_alone():
    model = Model()

    async def work(queue: _Queue) -> None:
        ask(queue, rows(0))
        futures = [ask(queue, table) for table in (rows(1), {"amount": np.ones(1)}, rows(3))]
        for _ in range(10):
            if model.asked:
                model.answer()
            await asyncio.sleep(0)
        assert (await futures[0]).tolist() == [1]
        assert (await futures[1]).tolist() == [1]  # alone it is what the model makes of it
        assert (await futures[2]).tolist() == [3]

    run(model, work)


def test_what_was_given_up_while_it_waited_is_not_kept_and_what_is_asked_says_when_it_ends():
    model = Model()

    async def work(queue: _Queue) -> None:
        asked, *waiting = [queue.add(rows(n)) for n in range(5)]
        for request in (asked, *waiting):
            request.predictions.cancel()
        await asyncio.sleep(0)
        assert not queue._waiting
        assert [request.call for request in waiting] == [None] * 4
        assert asked.call is not None
        assert not asked.call.done()
        model.answer()
        assert asked.call.done()
        assert model.batches == [[0]]

    run(model, work)
