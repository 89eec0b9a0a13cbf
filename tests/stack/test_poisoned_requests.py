"""A request that a server dies of, or hangs on: what the gateway does with it.

In serving's place, under its name, are servers that do as they are told; what they begin is on
their output.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from support.replicas import docker, wait_until_ready
from support.stack_driver import Stack, run, wait_for

OBEDIENT = """
import asyncio, os

async def serve(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        lines = head.lower().split(b"\\r\\n")
        sizes = [int(l[16:]) for l in lines if l.startswith(b"content-length: ")]
        body = await reader.readexactly(sum(sizes))
        word = body.decode().partition(" ")[0]
        if word:
            print("begun", body.decode(), flush=True)
        if word == "die":
            os._exit(1)
        if word == "cut":
            writer.transport.abort()
        if word == "hang":
            await asyncio.sleep(3600)
        status = {"fail": "500 Failed", "end": "502 Ended", "busy": "503 Busy"}.get(word, "200 OK")
        writer.write(f"HTTP/1.1 {status}\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}".encode())
        await writer.drain()

async def main():
    await (await asyncio.start_server(serve, "0.0.0.0", 8000)).serve_forever()

asyncio.run(main())
"""
TIMEOUT_S = 2
SETTLED_S = 2  # configs/gateway/second.lua


@pytest.fixture(scope="module")
def gateway(stack: Stack) -> Iterator[Stack]:
    """The gateway without serving, and impatient."""
    stack.compose("stop", "--timeout", "0", "serving")
    try:
        settings = {"GATEWAY_SERVER_TIMEOUT_S": str(TIMEOUT_S)}
        stack.compose("up", "-d", "--no-deps", "--wait", "gateway", **settings)
        yield stack
    finally:
        stack.compose("up", "-d", "--no-deps", "--wait", "gateway", "serving")
        wait_until_ready(stack, 1)


@contextmanager
def obedient(stack: Stack, number: int) -> Iterator[list[str]]:
    """So many servers that do as they are told; the names of their containers."""
    image = stack.environment()["SERVING_IMAGE"]
    names = [f"{stack.project}-obedient-{index}" for index in range(number)]
    label = f"com.docker.compose.project={stack.project}"
    try:
        for name in names:
            docker("run", "--detach", "--init", "--name", name, "--label", label, "--restart",
                   "unless-stopped", "--network", f"{stack.project}_inside", "--network-alias",
                   "serving", image, "python", "-c", OBEDIENT)  # fmt: skip
        wait_until_ready(stack, number)
        yield names
    finally:
        run("docker", "rm", "--force", *names)
        wait_until_ready(stack, 0)


def ask(stack: Stack, text: str, client: httpx.Client | None = None) -> httpx.Response:
    url = f"http://127.0.0.1:{stack.gateway_port}/predict"
    return (client or httpx).post(url, content=text, timeout=120)


def begun(names: list[str], text: str) -> int:
    """How often a server has begun this request; the engine's log is a moment behind."""
    time.sleep(1)
    return sum(docker("logs", name).splitlines().count(f"begun {text}") for name in names)


def wait_until_noticed(stack: Stack, number: int) -> None:
    """Until the gateway has seen the death, and the return: a server at a time may be missing."""
    time.sleep(SETTLED_S)
    wait_until_ready(stack, number)


@contextmanager
def others(stack: Stack) -> Iterator[list[int]]:
    """Other clients all the while; the statuses of their answers."""
    statuses: list[int] = []
    is_over = threading.Event()

    def ask_on() -> None:
        while not is_over.is_set():
            statuses.append(ask(stack, "other").status_code)
            time.sleep(0.02)

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask_on) for _ in range(2)]
        try:
            yield statuses
        finally:
            is_over.set()
        for one in asking:
            one.result()


def test_a_single_server_is_back_after_it(gateway: Stack) -> None:
    with obedient(gateway, 1) as names:
        assert ask(gateway, "die 1").status_code == 502
        wait_for("the server's return", lambda: ask(gateway, "well").status_code == 200)
        assert begun(names, "die 1") == 1
        assert ask(gateway, "hang 2").status_code == 504
        assert ask(gateway, "well").status_code == 200
        assert begun(names, "hang 2") == 1


@pytest.fixture(scope="module")
def two(gateway: Stack) -> Iterator[list[str]]:
    with obedient(gateway, 2) as names:
        yield names


@pytest.mark.parametrize("word", ["die", "cut"])
def test_a_request_that_breaks_a_server_reaches_one_more_and_never_the_last(
    gateway: Stack, two: list[str], word: str
) -> None:
    with others(gateway) as statuses, httpx.Client(timeout=120) as client:
        for turn in range(3):  # a new connection and one that was in use
            assert ask(gateway, "warm", client).status_code == 200
            text = f"{word} {turn}"
            answer = ask(gateway, text, client if turn else None)
            assert answer.status_code == 502
            assert answer.headers["content-type"] == "application/problem+json"
            assert int(answer.headers["retry-after"]) > 0
            assert begun(two, text) <= 2
            wait_until_noticed(gateway, 2)
    assert set(statuses) == {200}


def test_a_request_that_a_server_hangs_on_reaches_no_other(gateway: Stack, two: list[str]) -> None:
    with others(gateway) as statuses:
        answer = ask(gateway, "hang 1")
    assert (answer.status_code, begun(two, "hang 1")) == (504, 1)
    assert set(statuses) == {200}


@pytest.mark.parametrize(("word", "status", "times"), [("fail", 500, 1), ("end", 502, 1)])
def test_what_a_server_answered_is_its_answer(
    gateway: Stack, two: list[str], word: str, status: int, times: int
) -> None:
    answer = ask(gateway, f"{word} 1")
    assert (answer.status_code, begun(two, f"{word} 1")) == (status, times)


def test_what_no_server_took_is_tried_as_often_as_there_are_places(
    gateway: Stack, two: list[str]
) -> None:
    assert ask(gateway, "busy 1").status_code == 503
    assert begun(two, "busy 1") == 8


def test_a_server_that_is_killed_loses_no_request_of_others(gateway: Stack, two: list[str]) -> None:
    with others(gateway) as statuses:
        for name in two:
            docker("exec", name, "sh", "-c", "kill -9 $(cat /proc/1/task/1/children)")
            wait_until_noticed(gateway, 2)
    assert set(statuses) == {200}
