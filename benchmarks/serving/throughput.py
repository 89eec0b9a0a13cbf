"""Requests a second through 64 connections, and the time of one: by turns, round after round.

All servers of a workload are up at once, and all but the one whose turn it is are halted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.agreement import DisagreementError, largest_difference
from benchmarks.serving.client import read_requests
from benchmarks.serving.contestants import Contestant
from benchmarks.serving.dialects import Row
from benchmarks.serving.disturbance import MOST, Disturbance
from benchmarks.serving.load import LoadError, Measured, ask, write_requests
from benchmarks.serving.network import answers_ok, free_port
from benchmarks.serving.servers import RunningServer, ServerError

CONNECTIONS = 64
_WARM_UP_S = 1.0
_AGREED_ROWS = 64
_DRAINED = 2
_ATTEMPTS = 2

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How long it takes."""

    rounds: int
    many_s: float
    one_s: float


@dataclass
class Entry:
    """One contestant and its turns; `failure` says why it is out."""

    contestant: Contestant
    server: RunningServer
    port: int
    requests: Path
    difference: float = 0.0
    rss_bytes: int = 0
    many: list[Measured] = field(default_factory=list)
    one: list[Measured] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    processor_us: list[float] = field(default_factory=list)
    failure: str = ""

    def found(self) -> dict[str, Any]:
        """Everything, as the results keep it."""
        return {
            "is_ours": self.contestant.is_ours,
            "is_limit": self.contestant.is_limit,
            "difference": self.difference,
            "rss_bytes": self.rss_bytes,
            "failure": self.failure,
            "many": [asdict(turn) for turn in self.many],
            "one": [asdict(turn) for turn in self.one],
            "others": self.others,
            "processor_us": self.processor_us,
        }

    def said(self) -> str:
        """The last turn in short."""
        if self.failure:
            return self.failure
        rate, p50_us = self.many[-1].rate, self.one[-1].p50_us
        return f"{rate:,.0f}/s, {p50_us:,.0f} us; others used {self.others[-1]:.0%}"


def measure(
    workload: str,
    contestants: Sequence[Contestant],
    rows: Sequence[Row],
    expected: np.ndarray,
    plan: Plan,
    say: Say,
) -> dict[str, Any]:
    """Contestant → every turn it had, its memory and its difference from the fitted model."""
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        entries: list[Entry] = []
        hosts: dict[str, tuple[RunningServer, int]] = {}
        for contestant in contestants:
            try:
                server, port = _host(contestant, hosts, rows, stack)
            except ServerError as error:
                found[contestant.name] = {"failure": str(error)}
                say(f"{workload}: {error}")
                continue
            requests = [contestant.dialect.request(port, [row]) for row in rows]
            path = write_requests(f"{workload} {contestant.name}", requests)
            entry = Entry(contestant, server, port, path)
            entries.append(entry)
            _try(entry, lambda e: _check(e, rows, expected))
            said = entry.failure or f"agrees within {entry.difference:.1g}"
            say(f"{workload}: {contestant.name} {said}")
        for turn in range(plan.rounds):
            for entry in entries:
                if entry.failure:
                    continue
                _try(entry, lambda e: _take_calm_turn(e, plan))
                say(f"{workload} {turn + 1}/{plan.rounds}: {entry.contestant.name}: {entry.said()}")
    return found | {entry.contestant.name: entry.found() for entry in entries}


def _host(
    contestant: Contestant,
    hosts: dict[str, tuple[RunningServer, int]],
    rows: Sequence[Row],
    stack: ExitStack,
) -> tuple[RunningServer, int]:
    """The contestant's server, which is started when it is the first one there."""
    name = contestant.host.name
    if name not in hosts:
        port = free_port()
        server = RunningServer(contestant.host.program(port))
        stack.callback(server.stop)
        request = contestant.dialect.request(port, rows[:1])
        server.wait_until(lambda: answers_ok(port, request))
        hosts[name] = server, port
    return hosts[name]


def _try(entry: Entry, work: Callable[[Entry], None]) -> None:
    """Do `work` while the server runs; it is halted before and after."""
    entry.server.go_on()
    try:
        work(entry)
    except (LoadError, DisagreementError, OSError) as error:
        entry.failure = f"{type(error).__name__}: {error}"
    finally:
        entry.server.halt()


def _check(entry: Entry, rows: Sequence[Row], expected: np.ndarray) -> None:
    few, right = rows[:_AGREED_ROWS], expected[:_AGREED_ROWS]
    entry.difference = largest_difference(entry.contestant, entry.port, few, right)
    ask(entry.port, entry.requests, _WARM_UP_S, CONNECTIONS, is_warm_up=True)


def _take_calm_turn(entry: Entry, plan: Plan) -> None:
    """A turn during which the machine did little else; the calmest one when none was calm."""
    turns = []
    for _ in range(_ATTEMPTS):
        disturbance = Disturbance()
        turn = _take_turn(entry, plan)
        turns.append((disturbance.share(), turn))
        if turns[-1][0] <= MOST:
            break
    others, (one, many) = min(turns, key=lambda item: item[0])
    entry.one.append(one)
    entry.many.append(many)
    entry.others.append(others)


def _take_turn(entry: Entry, plan: Plan) -> tuple[Measured, Measured]:
    _drain(entry)
    one = ask(entry.port, entry.requests, plan.one_s, 1)
    ask(entry.port, entry.requests, _WARM_UP_S, CONNECTIONS, is_warm_up=True)
    used_s = entry.server.processor_s()
    many = ask(entry.port, entry.requests, plan.many_s, CONNECTIONS)
    entry.processor_us.append((entry.server.processor_s() - used_s) * 1e6 / many.requests)
    entry.rss_bytes = entry.server.rss_bytes()
    _drain(entry)
    return one, many


def _drain(entry: Entry) -> None:
    """Wait until the server has done what the clients that are gone had asked for."""
    request = next(read_requests(entry.requests))
    for _ in range(_DRAINED):
        answers_ok(entry.port, request)
