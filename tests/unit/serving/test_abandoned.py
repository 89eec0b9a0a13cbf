"""Requests that were given up: their work ends, and counts against the limits until it has."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import httpx
import numpy as np
import pytest

from modelyard.scoring.runner import Call, GivenUpError, RunnerError
from modelyard.serving.protocols.exchange import INLINE_BODY_BYTES
from modelyard.serving.web.batcher import TickBatcher
from modelyard.serving.web.deadlines import Deadlines
from modelyard.serving.web.jobs import Jobs
from modelyard.serving.web.predict import ABANDON
from support.connections import GOOD, Wire, over_the_wire
from support.misbehaving_runners import Blocking, Counting, with_runner
from support.models.toy import ROW
from support.predict_requests import JSON, check_problem
from support.serving_app import MakeServer, Server, snapshot_of

ENOUGH_S = 60
"""So long nothing here takes; a test that waits as long has failed."""


class Held(Blocking):
    """Counts its calls, and keeps each of them until the test lets go."""

    def __init__(self, runner):
        super().__init__(runner, threading.Event())
        self.calls = 0
        self.under_way = 0

    def predict(self, columns, call=None):
        self.calls += 1
        self.under_way += 1
        self.entered.set()
        try:
            self.release.wait(ENOUGH_S)
            return self.runner.predict(columns, call)
        finally:
            self.under_way -= 1


def held(server: Server) -> Held:
    snapshot = server.holder.snapshot
    runner = Held(snapshot.runner)
    server.holder.snapshot = with_runner(snapshot, runner, inline=False)
    return runner


@asynccontextmanager
async def deadlines_of(server: Server) -> AsyncIterator[Deadlines]:
    watch = asyncio.create_task(server.app._predict.deadlines.watch())
    try:
        yield server.app._predict.deadlines
    finally:
        watch.cancel()


async def until(holds) -> None:
    async with asyncio.timeout(ENOUGH_S):
        while not holds():  # noqa: ASYNC110 - what is looked at knows no event
            await asyncio.sleep(0.001)


def test_work_that_was_given_up_counts_until_it_ends_and_what_waited_never_runs(
    make_server: MakeServer,
):
    server = make_server(request_timeout_s=0.05, max_concurrency=6)
    server.serve(1)
    runner, metrics = held(server), server.app._metrics

    async def main(client: httpx.AsyncClient) -> None:
        async with deadlines_of(server):
            answers = await asyncio.gather(*(client.post("/predict", json=ROW) for _ in range(6)))
            assert [answer.status_code for answer in answers] == [504] * 6
            assert (runner.calls, metrics.in_flight) == (2, 2)
            # a flood: what cannot begin is given up, or refused, and never piles up
            for _ in range(5):
                flood = await asyncio.gather(*(client.post("/predict", json=ROW) for _ in range(9)))
                assert sorted(answer.status_code for answer in flood) == [503] * 5 + [504] * 4
                for answer in flood:
                    assert answer.status_code == 504 or answer.headers["retry-after"]
                assert (runner.calls, metrics.in_flight) == (2, 2)
            runner.release.set()
            await until(lambda: metrics.in_flight == 0)
        answer = await client.post("/predict", json=ROW)
        assert answer.status_code == 200
        assert (runner.calls, runner.under_way, metrics.in_flight) == (3, 0, 0)

    server.run(main)
    assert server.holder.snapshot.usage._count == 0


def test_the_limit_on_requests_holds_while_given_up_work_runs(make_server: MakeServer):
    server = make_server(request_timeout_s=0.05, max_concurrency=2)
    server.serve(1)
    runner = held(server)

    async def main(client: httpx.AsyncClient) -> None:
        async with deadlines_of(server):
            await asyncio.gather(*(client.post("/predict", json=ROW) for _ in range(2)))
            for _ in range(3):
                check_problem(await client.post("/predict", json=ROW), 503)
            runner.release.set()
            await until(lambda: server.app._metrics.in_flight == 0)
        assert (await client.post("/predict", json=ROW)).status_code == 200

    server.run(main)
    assert runner.calls == 3


def test_a_batch_keeps_its_place_until_its_work_ends(make_server: MakeServer):
    server = make_server(request_timeout_s=0.5, max_batch_concurrency=1, max_body_bytes=1024)
    server.serve(1)
    runner = held(server)
    batch = json.dumps({"columns": {name: [value] * 100 for name, value in ROW.items()}}).encode()

    async def main(client: httpx.AsyncClient) -> None:
        async with deadlines_of(server):
            first = await client.post("/predict", content=batch, headers=JSON)
            assert first.status_code == 504
            for _ in range(3):
                check_problem(await client.post("/predict", content=batch, headers=JSON), 503)
            runner.release.set()
            await until(lambda: not server.app._predict._batches)
        answer = await client.post("/predict", content=batch, headers=JSON)
        assert answer.status_code == 200

    server.run(main)


def test_a_client_that_goes_away_takes_its_work_with_it(server: Server):
    runner, metrics = held(server), server.app._metrics
    sent = []

    async def main(_: httpx.AsyncClient) -> None:
        scopes = [request_scope() for _ in range(4)]
        tasks = [asyncio.create_task(ask(server, scope, sent)) for scope in scopes]
        await until(lambda: runner.calls == 2 and metrics.in_flight == 4)
        for scope in scopes:
            scope[ABANDON]()
        await asyncio.gather(*tasks)
        assert metrics.in_flight == 2
        runner.release.set()
        await until(lambda: metrics.in_flight == 0)
        for scope in scopes:
            scope[ABANDON]()  # of a request that is over: nothing

    server.run(main)
    assert (runner.calls, sent) == (2, [])


def request_scope() -> dict:
    headers = [(b"content-type", b"application/json")]
    return {"type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict",
            "headers": headers}  # fmt: skip


async def ask(server: Server, scope: dict, sent: list) -> None:
    body = json.dumps(ROW).encode()

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    await server.app(scope, receive, send)


def test_a_large_body_is_not_scored_when_it_was_given_up_while_it_was_read(server: Server):
    snapshot = server.holder.snapshot
    runner = Counting(snapshot.runner)
    server.holder.snapshot = with_runner(snapshot, runner)
    form = next(iter(server.app._addresses.fixed.values()))._json
    read, entered, release = form.read, threading.Event(), threading.Event()

    def slow_read(spec, body):
        entered.set()
        release.wait(ENOUGH_S)
        return read(spec, body)

    form.read = slow_read
    body = json.dumps([ROW] * (INLINE_BODY_BYTES // len(json.dumps(ROW)) + 10)).encode()

    async def main(client: httpx.AsyncClient) -> None:
        deadlines = server.app._predict.deadlines
        asked = asyncio.create_task(client.post("/predict", content=body, headers=JSON))
        await until(entered.is_set)
        deadlines._timeout_s = 0
        deadlines.cancel_overdue()
        check_problem(await asked, 504)
        release.set()
        await until(lambda: server.app._metrics.in_flight == 0)

    server.run(main)
    assert runner.rows == []


def test_a_call_that_is_given_up_ends_between_the_slices_of_its_batch(tmp_path):
    runner = snapshot_of_toy(tmp_path).runner
    call, run, runs = Call(), runner._run, []

    def run_and_give_up(feed, rows, options):
        runs.append(rows)
        result = run(feed, rows, options)
        call.give_up()
        return result

    runner._run = run_and_give_up
    columns = {
        name: np.array([value] * 30_000, object if isinstance(value, str) else None)
        for name, value in ROW.items()
    }
    with pytest.raises(GivenUpError):
        runner.predict(columns, call)
    assert len(runs) == 1
    runner._run = run
    assert len(runner.predict(columns, Call())) == 30_000  # no other call ends with it
    assert len(runner.predict(columns)) == 30_000


def test_a_call_that_is_given_up_ends_its_own_run_of_the_graph(tmp_path):
    runner = snapshot_of_toy(tmp_path).runner
    call, run = Call(), runner._run

    def give_up_and_run(feed, rows, options):
        call.give_up()
        return run(feed, rows, options)

    columns = {
        name: np.array([value], object if isinstance(value, str) else None)
        for name, value in ROW.items()
    }
    runner._run = give_up_and_run
    with pytest.raises(RunnerError):
        runner.predict(columns, call)
    runner._run = run
    assert len(runner.predict(columns)) == 1


def snapshot_of_toy(folder):
    from support.models.folders import write_version

    write_version(folder, 1)
    return snapshot_of(folder)


def test_the_rows_of_a_tick_that_nobody_waits_for_are_not_scored(server: Server):
    snapshot = server.holder.snapshot
    counting = Counting(snapshot.runner)
    snapshot = with_runner(snapshot, counting)
    decoder, outcomes = snapshot.decoder, []

    async def main() -> None:
        batcher = TickBatcher(lambda _: None, lambda: None)
        batcher._was_lone = False
        for number in range(4):
            table = decoder.rows([ROW | {"amount": float(number)}])
            batcher.submit(snapshot, table, outcomes.append, lambda n=number: n % 2 == 1)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert counting.rows == [2]
    assert [type(outcome) is GivenUpError for outcome in outcomes].count(True) == 2
    assert snapshot.usage._count == 0


def test_closing_gives_up_what_is_under_way():
    entered, ended = threading.Event(), threading.Event()

    def work(call: Call) -> None:
        stopped = threading.Event()
        call.on_give_up(stopped.set)
        entered.set()
        stopped.wait(ENOUGH_S)
        ended.set()

    async def main() -> None:
        jobs = Jobs(1)
        asked = asyncio.create_task(jobs.run(work, lambda _: None))
        waits = asyncio.create_task(jobs.run(work, lambda _: None))
        await until(entered.is_set)
        waits.cancel()
        jobs.close()
        await asked
        with suppress(asyncio.CancelledError):
            await waits

    asyncio.run(main())
    assert ended.is_set()


def test_a_call_that_was_given_up_before_it_began_does_not_begin():
    call = Call()
    call.give_up()
    for begin in (call.check, lambda: call.on_give_up(lambda: None)):
        with pytest.raises(GivenUpError):
            begin()
    assert issubclass(GivenUpError, RunnerError)


class Elsewhere:
    """A queued runner whose calls last until the test lets go."""

    batch_rows, is_absent, failure = 100, False, ""

    def __init__(self):
        self.asked = []
        self.rows = []

    @property
    def is_idle(self):
        return not self.asked

    def subscribe(self, wake):
        self.wake = wake

    def begin(self, columns, done):
        self.asked.append((columns["amount"], done))
        self.rows.append(len(columns["amount"]))

    def answer(self):
        amounts, done = self.asked.pop()
        self.wake()
        done(amounts)


def test_a_call_in_a_child_counts_until_it_ends_and_what_waited_never_reaches_one(
    make_server: MakeServer,
):
    server = make_server(request_timeout_s=0.05, max_concurrency=3)
    server.serve(1)
    model, metrics = Elsewhere(), server.app._metrics
    server.holder.snapshot = replace(server.holder.snapshot, runs_inline=False, queued=model)

    async def main(client: httpx.AsyncClient) -> None:
        async with deadlines_of(server):
            for at_once in (3, 2, 2):  # the first call keeps its place
                asked = (client.post("/predict", json=ROW) for _ in range(at_once))
                answers = await asyncio.gather(*asked)
                assert [answer.status_code for answer in answers] == [504] * at_once
                assert (metrics.in_flight, model.rows) == (1, [1])
            model.answer()
            await until(lambda: metrics.in_flight == 0)
        asked = asyncio.create_task(client.post("/predict", json=ROW))
        await until(lambda: model.asked)
        model.answer()
        assert (await asked).status_code == 200

    server.run(main)
    assert model.rows == [1, 1]


def test_a_connection_that_is_lost_gives_up_the_request_on_it(server: Server):
    runner, metrics = held(server), server.app._metrics

    async def work(wire: Wire) -> None:
        ends = [await wire.connect() for _ in range(4)]
        for _, writer in ends:
            writer.write(GOOD)
        await until(lambda: runner.calls == 2 and metrics.in_flight == 4)
        for _, writer in ends:
            writer.close()
        await until(lambda: metrics.in_flight == 2)
        runner.release.set()
        await until(lambda: metrics.in_flight == 0)

    over_the_wire(server, work)
    assert runner.calls == 2
    assert 'status="499"} 4.0' in server.ask("GET", "/metrics").text
