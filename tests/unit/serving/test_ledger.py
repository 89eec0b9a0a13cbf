"""One request's defect costs only that request: not its neighbours' answers, nor a place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from modelyard.serving.web.ledger import Entry, Ledger
from modelyard.serving.web.recorder import Recorder
from modelyard.serving.web.request_id import HEADER, RequestIds
from modelyard.serving.web.scores import Scores
from support.connections import Answer, Wire, busy, one, over_the_wire, read_answer, request
from support.models.toy import ROW
from support.predict_requests import log_of
from support.serving_app import MakeServer, Server

ILL = 500.0
"""The amount of the request whose booking fails."""


class DefectError(Exception):
    """Raised by what is broken for the test."""


def break_for_the_ill(owner: Any, name: str, times: int) -> None:
    """Let `owner.name` raise `times` times when one of its arguments belongs to the ill request."""
    whole: Callable[..., Any] = getattr(owner, name)
    left = times

    def broken(*arguments: Any) -> Any:
        nonlocal left
        is_ill = any(
            json.loads(a).get("amount") == ILL if isinstance(a, bytes) and b"amount" in a else
            getattr(a, "tolist", list)() == [1000 + ILL]
            for a in arguments
        )  # fmt: skip
        if is_ill and left:
            left -= 1
            raise DefectError
        return whole(*arguments)

    setattr(owner, name, broken)


def break_server(server: Server, place: str, times: int) -> None:
    match place:
        case "encode":
            native = server.app._addresses.fixed["/predict"]
            break_for_the_ill(native._json, "_encode", times)
        case "scores":
            break_for_the_ill(server.app._metrics.scores, "add", times)
        case "log":
            break_for_the_ill(server.app.direct._ledger._recorder.encoder, "encode", times)


@pytest.fixture
def full(make_server: MakeServer) -> Server:
    """A server that logs requests and answers."""
    server = make_server(serving_prediction_log="full")
    server.serve(1)
    return server


def check_books(server: Server, answers: dict[str, int]) -> None:
    """Exactly the answers with 200 are logged and counted, once, and no place is taken."""
    given = [name for name, status in answers.items() if status == 200]
    assert sorted(line["id"] for line in log_of(server) if line["id"] in answers) == sorted(given)
    text = server.ask("GET", "/metrics").text
    booked = len(log_of(server))
    assert f"modelyard_prediction_scores_count {booked}.0" in text
    assert f'modelyard_requests_total{{route="/predict",status="200"}} {booked}.0' in text
    assert "modelyard_in_flight 0.0" in text


@pytest.mark.parametrize("place", ["encode", "scores", "log"])
@pytest.mark.parametrize(("times", "status"), [(1, 200), (99, 500)])
def test_in_a_tick_only_the_ill_request_pays(full: Server, place: str, times: int, status: int):
    """Once: the ordinary way makes it good. Always: it is answered with 500."""
    break_server(full, place, times)

    async def work(wire: Wire) -> list[Answer]:
        ends = await busy(wire, 8)
        for number, connection in enumerate(wire.connections):
            amount = ILL if number == 3 else number
            connection.data_received(request(ROW | {"amount": amount}, x_request_id=f"r{number}"))
        return [await read_answer(reader) for reader, _ in ends]

    answers = {a.heads[HEADER].decode(): a for a in over_the_wire(full, work)}
    assert {name: a.status for name, a in answers.items()} == {
        f"r{number}": status if number == 3 else 200 for number in range(8)
    }
    for number in range(8):
        if number != 3:
            assert answers[f"r{number}"].value["prediction"] == [1000 + number]
    if status == 200:
        assert answers["r3"].value["prediction"] == [1000 + ILL]
    else:
        assert answers["r3"].value["type"] == "urn:modelyard:problem:internal"
    check_books(full, {name: answer.status for name, answer in answers.items()})


@pytest.mark.parametrize("place", ["encode", "scores", "log"])
@pytest.mark.parametrize(("times", "status"), [(1, 200), (99, 500)])
def test_a_lone_request_that_is_ill_is_answered(full: Server, place: str, times: int, status: int):
    break_server(full, place, times)
    answer, ordinary = one(full, request(ROW | {"amount": ILL}, x_request_id="ill"))
    assert (answer.status, ordinary) == (status, ["/predict"])
    assert one(full, request(ROW))[0].status == 200
    check_books(full, {"ill": status})


@pytest.mark.parametrize("place", ["encode", "scores", "log"])
def test_on_the_ordinary_way_only_the_ill_request_pays(full: Server, place: str):
    break_server(full, place, 99)

    async def main(client: httpx.AsyncClient) -> list[httpx.Response]:
        return await asyncio.gather(
            *(
                client.post(
                    "/predict",
                    json=ROW | {"amount": ILL if number == 3 else number},
                    headers={"x-request-id": f"r{number}"},
                )
                for number in range(8)
            )
        )

    answers = full.run(main)
    assert [answer.status_code for answer in answers] == [200] * 3 + [500] + [200] * 4
    assert answers[3].json()["type"] == "urn:modelyard:problem:internal"
    check_books(full, {a.headers["x-request-id"]: a.status_code for a in answers})


def test_a_connection_that_cannot_be_written_to_is_ended_and_the_others_are_answered(full: Server):
    async def work(wire: Wire) -> list[bytes]:
        ends = await busy(wire, 4)

        def broken(_: object) -> None:
            raise DefectError

        wire.connections[1]._write = broken  # type: ignore[method-assign]
        for number, connection in enumerate(wire.connections):
            connection.data_received(request(ROW, x_request_id=f"r{number}", connection="close"))
        return [await asyncio.wait_for(reader.read(), 10) for reader, _ in ends]

    answers = over_the_wire(full, work)
    assert sorted(answer[:15] for answer in answers) == [b""] + [b"HTTP/1.1 200 OK"] * 3
    assert "modelyard_in_flight 0.0" in full.ask("GET", "/metrics").text


def test_a_log_that_fails_in_any_way_costs_lines_and_no_answers(full: Server):
    recorder = full.app.direct._ledger._recorder

    def broken(_: bytes) -> None:
        raise DefectError

    recorder._writer.append = broken

    async def work(wire: Wire) -> list[Answer]:
        ends = await busy(wire, 4)
        for connection in wire.connections:
            connection.data_received(request(ROW))
        return [await read_answer(reader) for reader, _ in ends]

    assert [answer.status for answer in over_the_wire(full, work)] == [200] * 4
    assert (recorder.written, recorder.lost) == (0, 12)


class Counts:
    """As much of the metrics as a ledger uses."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.scores = Scores()
        self.predictions: list[tuple[str, int]] = []
        self.refusals: list[str] = []

    def prediction(self, label: str, status: int, _: float) -> None:
        self.predictions.append((label, status))

    def refusal(self, kind: str) -> None:
        self.refusals.append(kind)


def test_a_place_is_taken_once_and_given_back_once():
    counts = Counts()
    ledger = Ledger(RequestIds(), counts, Recorder(None, with_contents=False), 2)
    first, second, third = (ledger.begin("/predict", {}) for _ in range(3))
    assert [ledger.admit(entry) for entry in (first, second, third)] == [True, True, False]
    ledger.refused(third, 503, "too-busy")
    assert counts.in_flight == 2
    for _ in range(2):
        ledger.release(first)
        assert counts.in_flight == 1
    ledger.refused(first, 504, "overdue")
    ledger.refused(second, 499)
    assert counts.in_flight == 0
    assert counts.refusals == ["too-busy", "overdue"]
    assert counts.predictions == [("/predict", status) for status in (503, 504, 499)]


def test_an_entry_has_the_id_that_came_with_the_request():
    ledger = Ledger(RequestIds(), Counts(), Recorder(None, with_contents=False), 1)
    entry = ledger.begin("/predict", {HEADER: b"order-7"})
    assert isinstance(entry, Entry)
    assert entry.id_headers == [(HEADER, b"order-7")]
