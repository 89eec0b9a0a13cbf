"""`POST /predict`: what is too large, too much, too slow or not asked for so; request ids."""

from __future__ import annotations

import asyncio
import json
import threading

import httpx
import pytest

from support.misbehaving_runners import Blocking, with_runner
from support.models.toy import ROW
from support.predict_requests import JSON, check_problem, post
from support.serving_app import MakeServer, Server


def test_a_body_over_the_limit_is_refused_announced_or_not(make_server: MakeServer):
    server = make_server(max_body_bytes=1024)
    server.serve(1)

    async def pieces():
        for _ in range(100):
            yield b" " * 100

    assert check_problem(post(server, b" " * 1025), 413)["type"].endswith("body-too-large")
    check_problem(server.ask("POST", "/predict", content=pieces(), headers=JSON), 413)
    padding = 1024 - len(json.dumps(ROW))
    assert post(server, json.dumps(ROW).encode() + b" " * padding).status_code == 200


def test_a_body_may_come_in_pieces(server: Server):
    text = json.dumps(ROW).encode()

    async def pieces():
        for byte in text:
            yield bytes([byte])

    assert server.ask("POST", "/predict", content=pieces(), headers=JSON).status_code == 200


def test_rows_over_the_limit_are_refused(make_server: MakeServer):
    server = make_server(max_rows=2)
    server.serve(1)
    assert post(server, [ROW] * 2).status_code == 200
    assert "at most 2 rows" in check_problem(post(server, [ROW] * 3), 413)["detail"]
    check_problem(post(server, [{}] * 3), 413)


def test_another_content_type_is_refused(server: Server):
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ):
        answer = post(server, ROW, **{"content-type": content_type})
        assert "Content-Type: application/json" in check_problem(answer, 415)["detail"]
    check_problem(post(server, ROW, **{"content-type": "application/json; charset=latin-1"}), 415)
    check_problem(post(server, ROW, **{"content-encoding": "gzip"}), 415)
    check_problem(server.ask("POST", "/predict", content=json.dumps(ROW)), 415)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_refused(server: Server, method: str):
    answer = server.ask(method, "/predict")
    check_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_without_a_model_the_answer_says_how_to_get_one(make_server: MakeServer):
    answer = post(make_server(), ROW)
    check_problem(answer, 503)
    assert answer.headers["retry-after"]
    assert "x-model-version" not in answer.headers


def test_more_requests_than_the_limit_are_told_to_come_again(make_server: MakeServer):
    server = make_server(max_concurrency=2)
    server.serve(1)
    release = asyncio.Event()

    async def slow_body():
        await release.wait()
        yield json.dumps(ROW).encode()

    async def main(client: httpx.AsyncClient) -> list[int]:
        held = [
            asyncio.create_task(client.post("/predict", content=slow_body(), headers=JSON))
            for _ in range(2)
        ]
        while server.app._metrics.in_flight < 2:  # noqa: ASYNC110 - the count knows no event
            await asyncio.sleep(0)
        refused = await client.post("/predict", json=ROW)
        check_problem(refused, 503)
        assert refused.headers["retry-after"]
        release.set()
        answers = await asyncio.gather(*held)
        after = await client.post("/predict", json=ROW)
        return [answer.status_code for answer in (*answers, after)]

    assert server.run(main) == [200, 200, 200]


def test_a_body_that_never_ends_is_given_up(make_server: MakeServer):
    server = make_server(request_timeout_s=0.05)
    server.serve(1)

    async def endless():
        yield b"{"
        await asyncio.sleep(3600)

    async def main(client: httpx.AsyncClient) -> httpx.Response:
        watch = asyncio.create_task(server.app._predict.deadlines.watch())
        try:
            return await client.post("/predict", content=endless(), headers=JSON)
        finally:
            watch.cancel()

    check_problem(server.run(main), 408)
    assert server.app._metrics.in_flight == 0
    assert post(server, ROW).status_code == 200


def test_a_model_that_takes_too_long_is_given_up_and_the_server_goes_on(make_server: MakeServer):
    server = make_server(request_timeout_s=0.05)
    server.serve(1)
    snapshot = server.holder.snapshot
    release = threading.Event()
    server.holder.snapshot = with_runner(snapshot, Blocking(snapshot.runner, release), inline=False)

    async def main(client: httpx.AsyncClient) -> httpx.Response:
        watch = asyncio.create_task(server.app._predict.deadlines.watch())
        try:
            answer = await client.post("/predict", json=ROW)
            assert (await client.get("/livez")).status_code == 200
            return answer
        finally:
            watch.cancel()
            release.set()

    assert "no answer within" in check_problem(server.run(main), 504)["detail"]


@pytest.mark.parametrize("path", ["/predict", "/livez", "/nothing"])
def test_a_sane_request_id_comes_back_and_another_does_not(server: Server, path: str):
    for given, kept in [
        ("abc-123", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a b", False),
        ('"><script>', False),
        ("", False),
    ]:
        answer = server.ask("POST", path, json=ROW, headers={"x-request-id": given})
        assert (answer.headers["x-request-id"] == given) is kept
        assert answer.headers["x-model-version"] == "1"


def test_made_ids_differ(server: Server):
    ids = {post(server, ROW).headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20
