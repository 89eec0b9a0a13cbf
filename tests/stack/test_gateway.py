"""What the gateway answers by itself: closed paths, limits, slow senders, a full house."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx
import pytest

from support.raw_http import raw, received
from support.stack_driver import ADVERSE, FIGURES, Stack, wait_for

SLOW_SENDERS = 500
IDLE = 2300
OF_ONE_CLIENT = 40
PAGE = "http://page.example:8080"
CLOSED = (
    ("GET", "/metrics"),
    ("GET", "/metrics/"),
    ("POST", "/admin/reload"),
    ("GET", "/metrics%0a"),
    ("POST", "/v2/repository/models/fraud-detector/load"),
    ("POST", "/v2/repository/models/fraud-detector/unload"),
)
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
LONG_BODY = HEAD + b"Content-Length: 200000\r\n\r\n" + b"[" * 60_000


def problem(answer: httpx.Response, status: int) -> str:
    """The detail of a problem document with this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    return str(answer.json()["detail"])


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_what_steers_and_what_measures_is_closed_outside(
    stack: Stack, method: str, path: str
) -> None:
    answer = stack.api.request(method, path)
    assert "inside the stack only" in problem(answer, 403)
    assert answer.headers["x-request-id"]


def test_what_is_closed_outside_answers_inside(stack: Stack) -> None:
    assert stack.inside("GET", "/metrics") == 200
    assert stack.inside("POST", "/admin/reload") == 401


def test_every_answer_carries_the_requests_id(stack: Stack) -> None:
    own = {"X-Request-Id": "my-own.id/7"}
    for path in ("/metrics", "/livez", "/nowhere"):
        assert stack.api.get(path, headers=own).headers["x-request-id"] == "my-own.id/7"
    mad = stack.api.get("/metrics", headers={"X-Request-Id": 'a "b"'}).headers["x-request-id"]
    assert mad and '"' not in mad


def test_a_body_that_announces_too_much_is_refused_at_once(stack: Stack) -> None:
    sent = HEAD + b"Content-Length: 40000000\r\n\r\n"
    assert "SERVING_MAX_BATCH_BODY_BYTES" in problem(raw(stack.gateway_port, sent), 413)


@pytest.mark.parametrize(
    "headers", [{f"X-{i}": "1" for i in range(80)}, {"X-Long": "x" * 20_000}], ids=["many", "long"]
)
def test_too_many_headers_are_refused(stack: Stack, headers: dict[str, str]) -> None:
    assert "64 headers" in problem(stack.api.get("/livez", headers=headers), 431)


def test_slow_senders_are_cut_and_nobody_else_feels_them(trained: Stack) -> None:
    with ExitStack() as stalled:
        senders = []
        for _ in range(SLOW_SENDERS):
            sender = socket.create_connection(("127.0.0.1", trained.gateway_port), timeout=30)
            senders.append(stalled.enter_context(sender))
            sender.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        answers = [trained.predict() for _ in range(50)]
        assert {answer.status_code for answer in answers} == {200}
        for sender in senders:
            assert "within 5 seconds" in problem(received(sender), 408)


def test_idle_connections_cost_those_that_speak_nothing(trained: Stack) -> None:
    """More than the 2048 that used to be all; the others wait for no place."""

    def seconds(_: int) -> float:
        start = time.monotonic()
        answer = httpx.post(url, json=ADVERSE, timeout=30)  # on a new connection
        assert answer.status_code == 200
        return time.monotonic() - start

    url = f"http://127.0.0.1:{trained.gateway_port}/predict"
    with ExitStack() as idle, ThreadPoolExecutor(8) as pool:
        alone = sorted(pool.map(seconds, range(200)))
        for index in range(IDLE):
            place = ("127.0.0.1", trained.gateway_port)
            connection = idle.enter_context(socket.create_connection(place, timeout=30))
            if index % 10 == 0:  # some have spoken
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
                assert received(connection).status_code == 200
        beside = sorted(pool.map(seconds, range(200)))
    FIGURES.append(
        f"p99 of 8 talkers on new connections: {alone[-2] * 1000:.0f} ms alone, "
        f"{beside[-2] * 1000:.0f} ms beside {IDLE} idle ones"
    )


@pytest.fixture(scope="module")
def narrow(trained: Stack) -> Iterator[Stack]:
    """The gateway with room for one request at a server, one in the queue, and few a client."""
    limits = {
        "GATEWAY_SERVER_CONNECTIONS": "1",
        "GATEWAY_MAX_QUEUE": "1",
        "GATEWAY_RATE_LIMIT": "60",
        "GATEWAY_CLIENT_CONNECTIONS": str(OF_ONE_CLIENT),
        "SERVING_CORS_ORIGINS": PAGE,
    }
    try:
        trained.compose("up", "-d", "--no-deps", "--wait", "gateway", **limits)
        wait_for("a prediction", lambda: trained.predict().status_code == 200)
        yield trained
    finally:
        trained.compose("up", "-d", "--no-deps", "--wait", "gateway")
        wait_for("a prediction", lambda: trained.predict().status_code == 200)


def test_a_full_house_says_when_to_come_again(narrow: Stack) -> None:
    with socket.create_connection(("127.0.0.1", narrow.gateway_port), timeout=30) as slow:
        slow.sendall(LONG_BODY)  # holds the server's only place until it is cut
        time.sleep(0.5)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: narrow.predict(), range(8)))
        # the first one waits in the queue, until it is its turn or its time is over
        refused = [answer for answer in answers if answer.status_code != 200]
        assert len(refused) >= 7
        for answer in refused:
            assert "busy" in problem(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
    wait_for("a prediction", lambda: narrow.predict().status_code == 200)


def test_one_client_has_so_many_connections_and_no_more(narrow: Stack) -> None:
    with ExitStack() as all_of_them:
        connections = [
            all_of_them.enter_context(
                socket.create_connection(("127.0.0.1", narrow.gateway_port), timeout=30)
            )
            for _ in range(OF_ONE_CLIENT + 20)
        ]
        heads = []
        for connection in connections:
            with suppress(OSError):  # reset
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                heads.append(connection.recv(12))
            except ConnectionResetError:
                heads.append(b"")
    answered = sum(head.startswith(b"HTTP/1.1") for head in heads)
    assert OF_ONE_CLIENT // 2 < answered <= OF_ONE_CLIENT
    assert heads.count(b"") == len(heads) - answered
    wait_for("a prediction", lambda: narrow.predict().status_code == 200)


def test_pages_of_a_listed_origin_read_what_the_gateway_answers_too(narrow: Stack) -> None:
    ask = {"origin": PAGE, "access-control-request-method": "POST"}
    preflight = narrow.api.options("/predict", headers=ask)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == PAGE
    answers = [narrow.api.get(path, headers={"origin": PAGE}) for path in ("/livez", "/nowhere")]
    answers.append(narrow.api.get("/predict", headers={"origin": PAGE}))
    assert [answer.status_code for answer in answers] == [200, 404, 405]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
        assert answer.headers["vary"] == "Origin"
    for path, origin in (("/livez", f"{PAGE}1"), ("/metrics", PAGE), ("/admin/reload", PAGE)):
        asked = narrow.api.options(path, headers={**ask, "origin": origin})
        for answer in (asked, narrow.api.get(path, headers={"origin": origin})):
            assert "access-control-allow-origin" not in answer.headers


def test_a_client_that_asks_too_much_has_to_wait(narrow: Stack) -> None:
    url = f"http://127.0.0.1:{narrow.gateway_port}/predict"
    with httpx.Client(timeout=30) as client:
        answers = [client.post(url, json=ADVERSE) for _ in range(80)]
    last = answers[-1]
    assert "GATEWAY_RATE_LIMIT" in problem(last, 429)
    paged = httpx.post(url, json=ADVERSE, headers={"origin": PAGE}, timeout=30)
    assert (paged.status_code, paged.headers["access-control-allow-origin"]) == (429, PAGE)
    assert int(last.headers["retry-after"]) > 0
