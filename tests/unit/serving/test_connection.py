"""The short way answers what the ordinary way answers, and leaves the rest to it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from support.connections import (
    GOOD,
    Answer,
    Wire,
    amounts,
    one,
    over_the_wire,
    read_answer,
    request,
)
from support.models.toy import ROW
from support.protocol_requests import ARROW, V2, lists_of, rows_of, tensors
from support.serving_app import MakeServer, Server

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("path", "body", "heads"),
    [
        ("/predict", ROW, {}),
        ("/predict", rows_of(1, 2, 3), {}),
        ("/predict", {"columns": lists_of(rows_of(1, 2))}, {}),
        ("/predict", ROW, {"x_request_id": "mine", "traceparent": TRACE}),
        ("/predict", ROW, {"x_request_id": "not sane!", "traceparent": "00-no"}),
        ("/predict", ROW, {"accept": ARROW, "x_request_id": "a"}),
        ("/invocations", {"dataframe_records": [ROW]}, {}),
        ("/invocations", {"inputs": lists_of(rows_of(1, 2))}, {}),
        (V2, {"inputs": tensors([ROW]), "id": "7"}, {}),
        (f"{V2.removesuffix('/infer')}/versions/1/infer", {"inputs": tensors([ROW])}, {}),
    ],
    ids=str,
)
def test_a_good_request_takes_the_short_way_to_the_same_answer(
    server: Server, path: str, body: Any, heads: dict[str, str]
):
    answer, ordinary = one(server, request(body, path, **heads))
    assert (answer.status, ordinary) == (200, [])
    check_same(server, answer, path, json.dumps(body).encode(), heads)


@pytest.mark.parametrize(
    ("path", "body", "heads"),
    [
        ("/predict", ROW | {"amount": -1}, {}),
        ("/predict", {}, {}),
        ("/predict", b"{", {}),
        ("/predict", b"", {}),
        ("/predict", ROW, {"content_encoding": "gzip"}),
        ("/predict", ROW, {"accept": "text/html"}),
        ("/predict?a=1", ROW, {}),
        ("/pred%69ct", ROW, {}),
        ("/predict/", ROW, {}),
        ("/invocations", {}, {}),
        ("/invocations", b"a,b", {}),
        ("/v2/models/other/infer", {"inputs": tensors([ROW])}, {}),
        (f"{V2}?x", {"inputs": tensors([ROW])}, {}),
        (V2, {"inputs": []}, {}),
        ("/predict", rows_of(*range(900)), {}),
        ("/nowhere", ROW, {}),
        ("/health", ROW, {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_anything_else_is_answered_as_if_there_were_no_short_way(
    server: Server, path: str, body: Any, heads: dict[str, str]
):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer, _ = one(server, request(content, path, **heads))
    check_same(server, answer, path, content, heads)


def check_same(
    server: Server, answer: Answer, path: str, content: bytes, heads: dict[str, str]
) -> None:
    """The answer is what the application says when it is asked without a connection."""
    given_heads = {"content-type": "application/json"}
    given_heads |= {name.replace("_", "-"): value for name, value in heads.items()}
    expected: httpx.Response = server.ask("POST", path, content=content, headers=given_heads)
    assert answer.status == expected.status_code
    found_heads = {name.decode(): value.decode() for name, value in answer.heads.items()}
    expected_heads = dict(expected.headers)
    found_id, expected_id = found_heads.pop("x-request-id"), expected_heads.pop("x-request-id")
    found_heads.pop("date", None)
    assert found_heads == expected_heads
    assert answer.body.replace(found_id.encode(), expected_id.encode()) == expected.content


@pytest.mark.parametrize(
    "piece",
    [
        GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GOOD.replace(b"host: server", b"host: server\r\nexpect: 100-continue"),
        b"POST /predict HTTP/1.1\r\nhost: s\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
        % (len(json.dumps(ROW)), json.dumps(ROW).encode()),
    ],
    ids=["HTTP/1.0", "expect", "chunked"],
)
def test_unusual_requests_are_answered_by_uvicorn(server: Server, piece: bytes):
    async def work(wire: Wire) -> Answer:
        reader, writer = await wire.connect()
        writer.write(piece)
        answer = await read_answer(reader)
        if answer.status == 100:
            answer = await read_answer(reader)
        writer.close()
        assert wire.ordinary == ["/predict"]
        return answer

    answer = over_the_wire(server, work)
    assert amounts([answer]) == [ROW["amount"]]


def test_without_a_model_the_ordinary_way_says_why(make_server: MakeServer):
    answer, ordinary = one(make_server(), GOOD)
    assert (answer.status, ordinary) == (503, ["/predict"])
    assert "no-model" in answer.value["type"] or answer.value["status"] == 503
