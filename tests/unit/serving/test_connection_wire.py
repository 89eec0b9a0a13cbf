"""Whatever comes over the wire, in whatever pieces: every answer, in order, and its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.scoring.runner import Predictions, RunnerError
from modelyard.serving.web.request_id import HEADER
from support.connections import (
    GOOD,
    Answer,
    Wire,
    amounts,
    busy,
    one,
    over_the_wire,
    read_answer,
    request,
)
from support.models.toy import ROW
from support.serving_app import MakeServer, Server

CHUNK_WITHOUT_LENGTH = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"


class Failing:
    """A runner that fails on rows with a large amount, and leaves small ones without an answer."""

    description = "failing"

    def predict(self, columns: Mapping[str, npt.NDArray[Any]]) -> Predictions:
        amounts = columns["amount"]
        if (amounts > 900).any():
            raise RunnerError("too large")
        return np.where(amounts < 1, np.nan, amounts)

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture
def failing(server: Server) -> Server:
    snapshot = server.holder.snapshot
    assert snapshot is not None
    server.holder.replace(replace(snapshot, runner=Failing()))
    return server


@pytest.mark.parametrize("place", [1, 30, GOOD.index(b"\r\n\r\n") + 2, len(GOOD) - 60, -1])
def test_a_request_in_two_reads_is_answered(server: Server, place: int):
    answer, ordinary = one(server, GOOD[:place], GOOD[place:])
    assert amounts([answer]) == [ROW["amount"]]
    # where a part of the body has to be waited for, the deadline of the ordinary way holds
    has_to_wait = place == -1 or place > GOOD.index(b"\r\n\r\n") + 3
    assert ordinary == ["/predict"] * has_to_wait


@settings(max_examples=30, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    plan=st.lists(st.sampled_from(["good", "bad", "other", "ask"]), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
def test_any_cut_of_any_stream_gives_every_answer_in_order(
    failing: Server, plan: list[str], seed: int
):
    """Pipelined requests of four kinds, cut into reads anywhere."""
    numbers = random.Random(seed)
    texts, expected = [], []
    for index, kind in enumerate(plan):
        mark = f"r{index}"
        good = float(numbers.randrange(1, 900))
        match kind:
            case "good":
                texts.append(request(ROW | {"amount": good}, x_request_id=mark))
                expected.append((200, mark, good))
            case "bad":
                texts.append(request(ROW | {"amount": -1}, x_request_id=mark))
                expected.append((422, mark, None))
            case "other":
                texts.append(request(ROW | {"amount": 950}, x_request_id=mark))
                expected.append((500, mark, None))
            case _:
                texts.append(
                    f"GET /livez HTTP/1.1\r\nhost: s\r\nx-request-id: {mark}\r\n\r\n".encode()
                )
                expected.append((200, mark, None))
    stream = b"".join(texts)
    places = sorted(
        numbers.sample(range(1, len(stream)), k=min(numbers.randrange(4), len(stream) - 1))
    )
    pieces = [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]

    async def work(wire: Wire) -> list[Answer]:
        return await wire.ask(*pieces, answers=len(plan))

    found = [
        (
            a.status,
            a.heads[HEADER].decode(),
            a.value["prediction"][0] if "prediction" in a.value else None,
        )
        for a in over_the_wire(failing, work)
    ]
    assert found == expected


def test_requests_of_one_tick_get_each_its_own_answer(server: Server):
    async def work(wire: Wire) -> list[Answer]:
        ends = [await wire.connect() for _ in range(40)]
        answers: list[Answer] = []
        for turn in range(5):
            for number, (_, writer) in enumerate(ends):
                writer.write(request(ROW | {"amount": 40 * turn % 900 + number}))
            answers += [await read_answer(reader) for reader, _ in ends]
        assert wire.ordinary == []
        for _, writer in ends:
            writer.close()
        return answers

    found = amounts(over_the_wire(server, work))
    assert found == [40 * turn % 900 + number for turn in range(5) for number in range(40)]
    text = server.ask("GET", "/metrics").text
    assert 'modelyard_requests_total{route="/predict",status="200"} 200.0' in text
    assert "modelyard_rows_total 200.0" in text
    assert "modelyard_in_flight 0.0" in text
    assert "modelyard_prediction_scores_count 200.0" in text
    calls = next(line for line in text.splitlines() if "modelyard_batch_rows_count" in line)
    assert float(calls.split()[-1]) < 200  # some shared a call of the model


def test_a_failing_row_does_not_cost_the_others_of_its_tick_theirs(failing: Server):
    async def work(wire: Wire) -> list[Answer]:
        ends = [await wire.connect() for _ in range(12)]
        for number, (_, writer) in enumerate(ends):
            writer.write(request(ROW | {"amount": 950 if number % 4 == 0 else number}))
        answers = [await read_answer(reader) for reader, _ in ends]
        for _, writer in ends:
            writer.close()
        return answers

    answers = over_the_wire(failing, work)
    assert [a.status for a in answers] == [500, 200, 200, 200] * 3
    answer, _ = one(failing, request(ROW | {"amount": 0.5}))
    assert (answer.status, answer.value["type"].split(":")[-1]) == (422, "no-finite-answer")


def test_garbage_after_a_good_request_is_refused_after_its_answer(server: Server):
    async def work(wire: Wire) -> list[tuple[Answer, bytes]]:
        ends = await busy(wire, 4)
        for connection in wire.connections:
            connection.data_received(GOOD + b"\x00\x01 nonsense\r\n\r\n")
        return [(await read_answer(reader), await reader.read()) for reader, _ in ends]

    for first, rest in over_the_wire(server, work):
        assert amounts([first]) == [ROW["amount"]]
        assert rest.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("due", [1, 3])
@pytest.mark.parametrize("garbage", [b"\x00\x01 nonsense\r\n\r\n", CHUNK_WITHOUT_LENGTH])
def test_garbage_does_not_take_the_place_of_answers_that_are_due(
    server: Server, due: int, garbage: bytes
):
    """On the ordinary way they are not there yet when the garbage is met."""
    ask = b"GET /livez HTTP/1.1\r\nhost: s\r\n\r\n"

    async def work(wire: Wire) -> tuple[list[Answer], bytes]:
        reader, writer = await wire.connect()
        writer.write(ask * due + garbage)
        answers = [await read_answer(reader) for _ in range(due)]
        rest = await reader.read()
        writer.close()
        return answers, rest

    answers, rest = over_the_wire(server, work)
    assert [answer.status for answer in answers] == [200] * due
    assert rest == b"" or rest.startswith(b"HTTP/1.1 400 ")


def test_connection_close_is_kept(server: Server):
    async def work(wire: Wire) -> tuple[Answer, bytes]:
        reader, writer = await wire.connect()
        writer.write(request(ROW, connection="close"))
        answer, rest = await read_answer(reader), await reader.read()
        writer.close()
        assert wire.ordinary == []
        return answer, rest

    answer, rest = over_the_wire(server, work)
    assert (answer.heads[b"connection"], rest) == (b"close", b"")


def test_an_idle_connection_is_closed_after_a_while(server: Server):
    async def work(wire: Wire) -> bytes:
        reader, writer = await wire.connect()
        for _ in range(3):
            writer.write(GOOD)
            assert (await read_answer(reader)).status == 200
        rest = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return rest

    assert over_the_wire(server, work, timeout_keep_alive=1) == b""


def test_a_server_that_stops_answers_what_waits_for_the_end_of_the_tick(server: Server):
    async def work(wire: Wire) -> list[Answer]:
        ends = await busy(wire, 8)
        # by hand, as the loop would: read, and stop before the tick ends
        texts = [request(ROW | {"amount": number}) for number in range(8)]
        for connection, text in zip(wire.connections, texts, strict=True):
            connection.data_received(text)
        for connection in wire.connections:
            connection.shutdown()
        answers = [await read_answer(reader) for reader, _ in ends]
        assert [await reader.read() for reader, _ in ends] == [b""] * 8
        for _, writer in ends:
            writer.close()
        return answers

    assert sorted(amounts(over_the_wire(server, work))) == [*range(8)]


@pytest.mark.parametrize("amount", [1, 950])
def test_a_client_that_has_gone_disturbs_nobody(failing: Server, amount: int):
    async def work(wire: Wire) -> list[Answer]:
        ends = await busy(wire, 8)
        for connection in wire.connections:
            is_gone = connection in wire.connections[::2]
            connection.data_received(request(ROW | {"amount": amount if is_gone else 5}))
        for connection in wire.connections[::2]:
            connection.transport.abort()
            connection.connection_lost(None)
        readers = {writer.get_extra_info("sockname"): reader for reader, writer in ends}
        here = [readers[connection.client] for connection in wire.connections[1::2]]
        return [await read_answer(reader) for reader in here]

    assert [a.value["prediction"] for a in over_the_wire(failing, work)] == [[5.0]] * 4


def test_more_at_once_than_the_limit_are_refused(make_server: MakeServer):
    server = make_server(max_concurrency=3)
    server.serve(1)

    async def work(wire: Wire) -> list[int]:
        ends = [await wire.connect() for _ in range(12)]
        for _ in range(2):
            for _, writer in ends:
                writer.write(GOOD)
            statuses = [(await read_answer(reader)).status for reader, _ in ends]
        for _, writer in ends:
            writer.close()
        return statuses

    statuses = over_the_wire(server, work)
    assert set(statuses) <= {200, 503}
    assert 200 in statuses
