"""Running cases: some at once, good requests of a neighbour between their pieces."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random

import uvloop

from support.fuzz.books import check_books
from support.fuzz.case import Case, make_case
from support.fuzz.figures import Figures
from support.fuzz.framing import Answer, Found, MalformedError, answers_in, requests_in
from support.fuzz.memory import PATIENCE_S, Host, Pipe
from support.fuzz.message import Message
from support.fuzz.minimise import minimise
from support.fuzz.oracle import Fault, check, numbers_in
from support.fuzz.reference import Sizes
from support.fuzz.servers import Target
from support.models.toy import ROW
from support.serving_app import Server

AT_ONCE = 6
_SCHEDULES = 8
_SHORT_PATIENCE_S = 2.0
"""While a case is made smaller."""


@dataclass
class Finding:
    """A case that failed, made smaller, and why."""

    fault: Fault
    case: Case
    original: Case


class Neighbour:
    """A client between the others, whose every request is good."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.amounts: list[int] = []

    def ask(self) -> None:
        amount = len(self.amounts) % 1000
        self.amounts.append(amount)
        body = json.dumps(ROW | {"amount": amount}).encode()
        head = (b"content-type", b"application/json")
        self._pipe.feed(Message(b"/predict", body, heads=[head]).text())

    async def check(self, patience_s: float) -> None:
        """Every request has its own answer."""
        wanted = len(self.amounts)
        if not await self._pipe.until(
            lambda: len(answers_in(bytes(self._pipe.data), [])[0]) >= wanted, patience_s
        ):
            raise Fault("neighbour waits: a good request got no answer")
        answers, rest = answers_in(bytes(self._pipe.data), [])
        found = [numbers_in(one) if one.status == 200 else [one.status] for one in answers]
        if rest or found != [[1000.0 + amount] for amount in self.amounts]:
            wrong = [
                one for one, a in zip(found, self.amounts, strict=False) if one != [1000.0 + a]
            ]
            raise Fault(
                f"neighbour harmed: {len(found)} answers to {wanted}; {wrong[:3]} {rest[:80]!r}"
            )
        self._pipe.end()


class Session:
    """Runs cases against one server, and keeps what they showed.

    Args:
        server: asked without sockets.
        target: what it is.
    """

    def __init__(self, server: Server, target: Target) -> None:
        self._server = server
        self._target = target
        self.figures = Figures()
        self.findings: list[Finding] = []

    def run(self, seed: int, numbers: Sequence[int], *, most_findings: int = 5) -> None:
        """The cases of these numbers, and a look at the server's own counts."""
        with self._running() as runner:
            for start in range(0, len(numbers), AT_ONCE):
                cases = [make_case(seed, n) for n in numbers[start : start + AT_ONCE]]
                try:
                    runner.run(self._group(cases, self.figures, PATIENCE_S))
                except Fault as fault:
                    self.findings.append(self._explain(runner, fault, cases))
                    if len(self.findings) >= most_findings:
                        return
            if not self.findings:  # what is tried to explain one is counted, too
                check_books(self._server.app._metrics.text().decode(), self.figures)

    def replay(self, case: Case) -> None:
        """One case alone.

        Raises:
            Fault: it fails.
        """
        with self._running() as runner:
            runner.run(self._group([case], self.figures, PATIENCE_S))

    @contextmanager
    def _running(self) -> Iterator[asyncio.Runner]:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if self._target.follows:
                runner.run(self._start())
            yield runner
            if self._target.follows:
                runner.run(self._server.follower.stop())

    async def _start(self) -> None:
        await self._server.follower.start()
        async with asyncio.timeout(PATIENCE_S):
            while self._server.holder.snapshot is None:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)

    def _explain(self, runner: asyncio.Runner, fault: Fault, cases: list[Case]) -> Finding:
        """The smallest case that fails in the same way alone; else the one that failed."""

        def failure(case: Case) -> Fault | None:
            try:
                runner.run(self._group([case], Figures(), _SHORT_PATIENCE_S))
            except Fault as found:
                return found
            return None

        for case in (replace(case, schedule=n) for n in range(_SCHEDULES) for case in cases):
            alone = failure(case)
            if alone is None:
                continue

            def is_same(candidate: Case, kind: str = alone.kind) -> bool:
                found = failure(candidate)
                return found is not None and found.kind == kind

            small = minimise(case, is_same)
            return Finding(failure(small) or alone, small, case)
        names = ", ".join(case.name for case in cases)
        return Finding(Fault(f"{fault} (only together: {names})"), cases[0], cases[0])

    async def _group(self, cases: list[Case], figures: Figures, patience_s: float) -> None:
        """All of them at once, piece by piece in turns; afterwards nothing is left of them."""
        group = Group(self._server, cases, patience_s)
        try:
            with group.host.watching():
                await group.run(
                    Random(f"{cases[0].name}/{cases[0].schedule}"), self._target.sizes, figures
                )
        except Fault:
            await group.clear()
            raise


class Group:
    """Some cases at once, and their neighbour."""

    def __init__(self, server: Server, cases: list[Case], patience_s: float) -> None:
        self.host = Host(server)
        self._metrics = server.app._metrics
        self._patience_s = patience_s
        self._cases = cases
        self._found = [requests_in(case.stream) for case in cases]
        self._pipes: list[Pipe] = []

    async def run(self, numbers: Random, sizes: Sizes, figures: Figures) -> None:
        """Send everything, and hold the answers to what was asked.

        Raises:
            Fault: something does not hold.
        """
        neighbour = Neighbour(self.host.connect())
        self._pipes = [self.host.connect(is_slow=case.end == "slow") for case in self._cases]
        await self._send(numbers, neighbour)
        for case, pipe, found in zip(self._cases, self._pipes, self._found, strict=True):
            if case.end == "abort":
                pipe.abort()
            elif not await pipe.until(
                lambda p=pipe, f=found: _count(p, f) >= f.answers, self._patience_s
            ):
                raise Fault(f"hang: {_count(pipe, found)} of {found.answers} answers")
        await neighbour.check(self._patience_s)
        closed = [pipe.is_closing() for pipe in self._pipes]
        for pipe in self._pipes:
            pipe.end()
        if not await self.host.settle(self._patience_s):
            raise Fault("left over: a connection or a task that does not end")
        if self.host.raised:
            raise Fault(f"callback raised: {self.host.raised.pop()}")
        if self._metrics.in_flight:
            raise Fault(f"in flight: {self._metrics.in_flight} after all has ended")
        for place, (case, found) in enumerate(zip(self._cases, self._found, strict=True)):
            answers, rest = _answers(self._pipes[place], found)
            is_closed = closed[place] or case.end == "abort"
            unanswered = check(case, found, answers, rest, sizes, is_closed=is_closed)
            figures.add(len(found.asked), answers, unanswered)
        figures.neighbours += len(neighbour.amounts)

    async def clear(self) -> None:
        """End everything after a fault, so that the next case begins with nothing."""
        for connection in list(self.host.state.connections):
            connection.transport.abort()
        await self.host.settle(_SHORT_PATIENCE_S)
        self._metrics.in_flight = 0

    async def _send(self, numbers: Random, neighbour: Neighbour) -> None:
        left = [case.pieces for case in self._cases]
        turns = [place for place, pieces in enumerate(left) for _ in pieces]
        numbers.shuffle(turns)
        for place in turns:
            if (
                self._cases[place].end == "abort"
                and len(left[place]) == 1
                and numbers.random() < 0.5
            ):
                self._pipes[place].abort()
            self._pipes[place].feed(left[place].pop(0))
            if numbers.random() < 0.25:
                neighbour.ask()
            if numbers.random() < 0.4:
                await asyncio.sleep(0)
        neighbour.ask()


def _answers(pipe: Pipe, found: Found) -> tuple[list[Answer], bytes]:
    try:
        return answers_in(bytes(pipe.data), found.asked)
    except MalformedError as error:
        raise Fault(f"malformed stream: {error}") from error


def _count(pipe: Pipe, found: Found) -> int:
    return len(_answers(pipe, found)[0])
