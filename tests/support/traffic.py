"""Traffic for a running stack: an open loop at a fixed rate, and every answer is checked.

    cd tests && ../.venv/bin/python -m support.traffic --rate 100 --seconds 30 --mark 10=kill --json

Requests fall due at fixed moments, whatever the server does, and a time counts from the moment at
which its request was due: a server that stalls cannot hide it. A failure is anything but a whole
answer to the very request that was asked, from one version: another status, no answer within the
timeout, a header that names another version than the body, another request's id, and, where the
models are numbered (`--numbered`), another number than the named version answers.

The stack tests use `Traffic` as a library, and mark what they do to the stack.
"""

# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from types import TracebackType
from typing import Any, Self

import aiohttp

from support.traffic_report import STEADY, Record, Report

URL = "http://127.0.0.1:8000/predict"
ROW = {"amount": 500, "merchant_category": "electronics", "hour": 23}
AMOUNTS = 1000
"""A numbered model of version v answers `AMOUNTS * v + amount`, exact for whole amounts below."""

_OK = 200
_KEEP_ALIVE_S = 20.0  # shorter than the gateway's, so that no request meets a closing connection

Row = Mapping[str, Any]
Check = Callable[[Row, str, list[float]], str]
"""Row, version, predictions → what is wrong with them, or an empty string."""


def is_numbered(row: Row, version: str, predictions: list[float]) -> str:
    """For models that answer with their own version's number; see `AMOUNTS`."""
    amounts = row["columns"]["amount"] if "columns" in row else [row["amount"]]
    expected = [AMOUNTS * int(version) + amount for amount in amounts]
    return "" if predictions == expected else f"version {version} answered with another's number"


def numbered_row(index: int) -> Row:
    """A row that differs from its neighbours, so that an answer to another request is seen."""
    return {"amount": index % AMOUNTS}


def numbered_batch(rows: int) -> Callable[[int], Row]:
    """The same, for batches of so many rows."""
    return lambda index: {"columns": {"amount": [(index + i) % AMOUNTS for i in range(rows)]}}


def _constant_row(_index: int) -> Row:
    return ROW


def _anything(_row: Row, _version: str, _predictions: list[float]) -> str:
    return ""


class Traffic:
    """Asks from `with` on, in a thread of its own, until the block ends and all is answered.

    Args:
        url: where predictions are asked for.
        rate: requests a second.
        row: the row of each request, by its index.
        check: what a prediction has to be.
        connections: kept open; more requests at once wait for one of them, and their time counts.
        timeout_s: after it a request has failed.
        headers: sent with each request.
        name: begins the id of each request.
    """

    def __init__(
        self,
        url: str = URL,
        rate: float = 50.0,
        *,
        row: Callable[[int], Row] = _constant_row,
        check: Check = _anything,
        connections: int = 64,
        timeout_s: float = 30.0,
        headers: Mapping[str, str] | None = None,
        name: str = "traffic",
    ) -> None:
        self._url = url
        self._rate = rate
        self._row = row
        self._check = check
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._headers = {"content-type": "application/json", **(headers or {})}
        self._name = name
        self._record = Record()
        self.answered: list[str] = []
        """The ids of all good answers so far."""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        self._record.begin()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()

    def mark(self, phase: str) -> None:
        """Requests that fall due from now on belong to `phase`; call it before what it names."""
        self._record.mark(phase)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """`name` within the block, steady again after it."""
        self.mark(name)
        yield
        self.mark(STEADY)

    def run(self, seconds: float, marks: Sequence[tuple[float, str]] = ()) -> Report:
        """Ask for `seconds`; a new phase begins at each of the `marks`, in seconds."""
        with self:
            passed = 0.0
            for at, phase in sorted(marks):
                if not self._end.wait(at - passed):
                    self.mark(phase)
                passed = at
            self._end.wait(max(0.0, seconds - passed))
        return self.report()

    def report(self) -> Report:
        """What came of the requests that are answered so far."""
        return self._record.report()

    @property
    def versions(self) -> list[str]:
        """The version of every good answer so far, in the order in which they came."""
        return self._record.versions()

    @property
    def failures(self) -> list[str]:
        """What was wrong with each request that failed so far."""
        return self._record.failures()

    def _run(self) -> None:
        asyncio.run(self._ask_all())

    async def _ask_all(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        connector = aiohttp.TCPConnector(
            limit=self._connections, keepalive_timeout=_KEEP_ALIVE_S, force_close=False
        )
        async with aiohttp.ClientSession(
            connector=connector, timeout=self._timeout, headers=self._headers
        ) as session:
            started = self._record.now()
            for index in count():
                due = started + index / self._rate
                if (left := due - self._record.now()) > 0:
                    await asyncio.sleep(left)
                if self._end.is_set():
                    break
                task = asyncio.create_task(self._ask(session, index, due))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.gather(*tasks)

    async def _ask(self, session: aiohttp.ClientSession, index: int, due: float) -> None:
        row, request_id = self._row(index), f"{self._name}-{index}"
        version, fault = "", ""
        try:
            async with session.post(
                self._url, data=json.dumps(row), headers={"x-request-id": request_id}
            ) as answer:
                body = await answer.read()
                version = answer.headers.get("x-model-version", "")
                fault = self._fault(row, request_id, answer, body)
        except TimeoutError:
            fault = "no answer in time"
        except aiohttp.ClientError as error:
            fault = f"{type(error).__name__}: {error}"
        self._record.add(due, version, fault)
        if not fault:
            self.answered.append(request_id)

    def _fault(self, row: Row, request_id: str, answer: aiohttp.ClientResponse, body: bytes) -> str:
        """What is wrong with the answer; empty when nothing is."""
        if answer.status != _OK:
            return f"{answer.status} {_detail(body)}"
        if answer.headers.get("x-request-id") != request_id:
            return "the answer to another request"
        try:
            parsed = json.loads(body)
            version, predictions = parsed["model"]["version"], parsed["prediction"]
        except (ValueError, KeyError, TypeError):
            return f"not a prediction: {body[:80]!r}"
        named = answer.headers.get("x-model-version")
        if named != version:
            return f"the header names version {named}, the body {version}"
        return self._check(row, version, predictions)


def _detail(body: bytes) -> str:
    try:
        return str(json.loads(body)["detail"])[:120]
    except (ValueError, KeyError, TypeError):
        return repr(body[:80])


def _mark(text: str) -> tuple[float, str]:
    second, equals, phase = text.partition("=")
    if not (equals and phase):
        raise argparse.ArgumentTypeError("expected SECOND=PHASE, as in 10=kill")
    return float(second), phase


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, and print one line a phase; 1 when a request failed."""
    parser = argparse.ArgumentParser(
        prog="python -m support.traffic",
        description="Open-loop traffic that checks every answer.",
    )
    parser.add_argument("--url", default=URL)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--row", type=json.loads, default=ROW, help="the row to ask for, as JSON")
    parser.add_argument(
        "--numbered", action="store_true", help=f"models answer {AMOUNTS} * version + amount"
    )
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for one request")
    parser.add_argument(
        "--mark", type=_mark, action="append", default=[], help="SECOND=PHASE; may be repeated"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    chosen = parser.parse_args(argv)
    traffic = Traffic(
        chosen.url,
        chosen.rate,
        row=numbered_row if chosen.numbered else lambda _index: chosen.row,
        check=is_numbered if chosen.numbered else _anything,
        connections=chosen.connections,
        timeout_s=chosen.timeout,
    )
    report = traffic.run(chosen.seconds, chosen.mark)
    print(json.dumps(report.as_json(), indent=2) if chosen.json else report.as_text())
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
