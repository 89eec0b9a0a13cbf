"""Three replicas under load, and what happens to them: no request is lost.

The large sizes are those of `make soak`.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import httpx
import pytest

from support.models.numbered import SLOW_S, promote, register_numbered, register_slow, slow_row
from support.replicas import (
    cut_off,
    docker,
    kill_server,
    paused,
    ready_replicas,
    replica_names,
    silent_starters,
    wait_until_ready,
    wait_until_served,
)
from support.soak import size
from support.stack_driver import FIGURES, Stack, wait_for
from support.traffic import Traffic, is_numbered, numbered_batch, numbered_row
from support.traffic_report import STEADY, Report

REPLICAS = 3
PLACES = 8  # of replicas, in the gateway
RATE = 60.0
NOTICED_S = 5  # two checks, and what the machine adds
SLOW_RATE = 1.5  # of requests that take SLOW_S, one after another: half of what three can do
BATCH_ROWS = 5000  # more than fits into one of the gateway's buffers


def traffic_to(stack: Stack, rate: float = RATE, **options) -> Traffic:
    """Requests whose answers have to be those of the version that they name."""
    url = f"http://127.0.0.1:{stack.gateway_port}/predict"
    return Traffic(url, rate, **{"row": numbered_row, "check": is_numbered, **options})


def tell(what: str, report: Report, phase: str) -> None:
    """One line of figures: requests, failures, p99 steady and during, time to recover."""
    steady, during = report.phase(STEADY), report.phase(phase)
    FIGURES.append(
        f"{what}: {report.requests} requests, {report.failed} failed; p99 {steady.p99_ms:.1f} ms "
        f"steady, {during.p99_ms:.1f} ms during, the longest {during.max_ms:.0f} ms; "
        f"well again after {during.recovery_s:.1f} s at most"
    )


@pytest.fixture(scope="module")
def fast(numbered: Stack) -> str:
    """A version that answers at once."""
    return register_numbered(numbered)


@pytest.fixture
def serving(numbered: Stack, fast: str) -> Stack:
    """Three ready replicas of a fast version, whatever the test before left."""
    numbered.compose("up", "-d", "--no-deps", "--no-recreate", "serving", "gateway")
    promote(numbered, fast)
    wait_until_ready(numbered, REPLICAS)
    wait_until_served(numbered, fast)
    return numbered


def test_every_promotion_reaches_every_replica_and_no_answer_is_torn_or_stale(
    serving: Stack, fast: str
) -> None:
    promotions = size(6, 50)
    versions = [register_numbered(serving) for _ in range(promotions)]
    agreed: dict[str, int] = {}  # version → how many answers there were when all replicas had it
    with traffic_to(serving, size(60, 170)) as traffic:
        for version in versions:
            time.sleep(1)
            with traffic.phase("promotion"):
                promote(serving, version)
                wait_for(
                    f"every replica at version {version}",
                    lambda wanted=version: set(traffic.versions[-60:]) == {wanted},
                )
            agreed[version] = len(traffic.versions)
        time.sleep(1)
    report = traffic.report()
    assert traffic.failures == []
    assert set(versions) <= set(report.versions)
    for version, answers in agreed.items():
        assert all(int(later) >= int(version) for later in traffic.versions[answers:]), version
    spread = [report.overlap_s(*pair) for pair in pairwise([fast, *versions])]
    tell(f"{promotions} promotions", report, "promotion")
    ratio = report.phase("promotion").p99_ms / report.phase(STEADY).p99_ms
    FIGURES.append(
        f"    p99 during swaps {ratio:.2f} of steady; from the first replica with a new version to "
        f"the last: {sum(spread) / len(spread):.2f} s on average, {max(spread):.2f} s at most"
    )


@pytest.mark.parametrize(
    ("fault", "turns"), [("kill", (3, 20)), ("pause", (1, 10)), ("cut", (1, 10))]
)
def test_one_of_three_may_die_fall_silent_or_vanish(
    serving: Stack, fault: str, turns: tuple[int, int]
) -> None:
    turns_now = size(*turns)
    names = replica_names(serving)
    with traffic_to(serving) as traffic:
        time.sleep(2)
        for turn in range(turns_now):
            name = names[turn % REPLICAS]
            traffic.mark(fault)
            if fault == "kill":
                kill_server(name)
                time.sleep(2)
            else:
                with paused(name) if fault == "pause" else cut_off(serving, name):
                    wait_for(
                        "the gateway's notice", lambda: ready_replicas(serving) == REPLICAS - 1
                    )
                    time.sleep(1)
            wait_until_ready(serving, REPLICAS)
            traffic.mark(STEADY)
            time.sleep(1)
    # What was with one that vanished may be what it hangs on: no other gets it. That is what it was
    # sent until the gateway noticed.
    silent = [failure for failure in traffic.failures if failure.startswith("504 ")]
    assert traffic.failures == (silent if fault == "cut" else [])
    assert len(silent) < RATE * NOTICED_S * turns_now / REPLICAS
    tell(f"{turns_now} x {fault} of one of three", traffic.report(), fault)


def test_replicas_come_and_go(serving: Stack) -> None:
    turns = size(1, 10)
    scale = ("up", "-d", "--no-deps", "--no-recreate", "--scale")
    with traffic_to(serving) as traffic:
        for _ in range(turns):
            time.sleep(1)
            with traffic.phase("scale"):
                for replicas in (1, REPLICAS):
                    serving.compose(*scale, f"serving={replicas}", "serving")
                    wait_until_ready(serving, replicas)
    assert traffic.failures == []
    tell(f"{turns} x scale 3 to 1 to 3", traffic.report(), "scale")


def test_replicas_that_do_not_listen_yet_cost_nobody_a_request(serving: Stack) -> None:
    starters = PLACES - REPLICAS
    with traffic_to(serving) as traffic:
        for _ in range(size(3, 20)):
            with traffic.phase("start"), silent_starters(serving, starters):
                time.sleep(2)
            wait_until_ready(serving, REPLICAS)
    assert traffic.failures == []
    tell(f"{starters} replicas that do not listen yet", traffic.report(), "start")


def test_slow_requests_in_flight_on_a_replica_that_ends_are_answered(
    serving: Stack, slow: str
) -> None:
    """Python code that takes its time, in a process of its own; `kill` has no time to drain."""
    promote(serving, slow)
    wait_until_served(serving, slow)
    with traffic_to(serving, SLOW_RATE, row=slow_row) as traffic:
        for how, ending in zip(("stop", "restart", "kill"), replica_names(serving), strict=True):
            time.sleep(2 * SLOW_S)
            with traffic.phase(how):
                docker(how, ending)
                docker("start", ending)
                time.sleep(2 * SLOW_S)
                wait_until_ready(serving, REPLICAS)
        time.sleep(SLOW_S)
    assert traffic.failures == []
    assert set(traffic.versions) == {slow}
    for how in ("stop", "restart", "kill"):
        tell(f"{how} with predictions of {SLOW_S:.0f} s in flight", traffic.report(), how)


def test_a_stop_of_all_of_them_answers_what_is_in_flight(serving: Stack, slow: str) -> None:
    promote(serving, slow)
    wait_until_served(serving, slow)
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(serving.api.post("/predict", json=slow_row(0)))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(SLOW_S / 4)
    serving.compose("stop", "serving")
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 6
    # on a new connection: those that were open when the last replica went are closed
    refusal = httpx.post(f"{serving.api.base_url}/predict", json=slow_row(0))
    assert refusal.status_code == 503
    assert refusal.headers["content-type"] == "application/problem+json"


def test_batches_that_cannot_be_sent_twice_survive_a_replica_that_stops(serving: Stack) -> None:
    with traffic_to(serving, 40.0, row=numbered_batch(BATCH_ROWS)) as traffic:
        time.sleep(1)
        for name in replica_names(serving)[: size(1, REPLICAS)]:
            with traffic.phase("stop"):
                docker("stop", name)
                docker("start", name)
                wait_until_ready(serving, REPLICAS)
    assert traffic.failures == []
    tell(f"stop under batches of {BATCH_ROWS} rows", traffic.report(), "stop")


def test_slow_senders_are_ended_and_harm_nobody(serving: Stack) -> None:
    senders = size(100, 500)
    with traffic_to(serving) as traffic:
        time.sleep(2)
        with traffic.phase("senders"), half_sent(serving, senders) as connections:
            answers = [connection.recv(4096) for connection in connections]
        time.sleep(1)
    assert traffic.failures == []
    assert {answer[:13] for answer in answers} == {b"HTTP/1.1 408 "}
    tell(f"{senders} slow senders", traffic.report(), "senders")


def test_the_gateway_restarts(serving: Stack) -> None:
    with traffic_to(serving) as traffic:
        time.sleep(2)
        traffic.mark("restart")
        serving.compose("restart", "gateway")
        wait_until_ready(serving, REPLICAS)
        lost = len(traffic.failures)
        time.sleep(2)
    assert len(traffic.failures) == lost, traffic.failures[lost:][:5]
    assert len(traffic.versions) > RATE
    tell("restart of the gateway, which has no second", traffic.report(), "restart")


def test_status_shows_what_each_replica_serves_and_why_one_does_not(
    serving: Stack, fast: str
) -> None:
    silent, *others = replica_names(serving)
    command = ("--profile", "train", "run", "--rm", "--no-deps", "-T", "-e", "MODEL_NAME=numbered")
    with paused(silent):
        said = serving.compose(
            *command, "--entrypoint", "modelyard", "training", "status", "--json"
        ).stdout
    replicas = {replica["name"]: replica for replica in json.loads(said)["replicas"]}
    assert replicas.keys() == {silent, *others}
    assert replicas[silent]["version"] == ""
    assert replicas[silent]["why"].startswith("no answer")
    for name in others:
        assert (replicas[name]["version"], replicas[name]["why"]) == (fast, "")
        assert replicas[name]["since"]


@pytest.fixture(scope="module")
def slow(numbered: Stack) -> str:
    """A version whose predictions take `SLOW_S`."""
    return register_slow(numbered)


@contextmanager
def half_sent(stack: Stack, number: int) -> Iterator[list[socket.socket]]:
    """So many connections with half a request each."""
    connections = []
    half = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    try:
        for index in range(number):
            connection = socket.create_connection(("127.0.0.1", stack.gateway_port), timeout=20)
            connections.append(connection)
            connection.sendall(half + (b"" if index % 2 else b"\r\n{"))
        yield connections
    finally:
        for connection in connections:
            connection.close()
