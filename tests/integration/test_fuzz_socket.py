"""Some of the fuzzer's cases over the sockets of a real server, which reads them as the kernel cuts
them. `test_fuzz.py` has the many."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.fuzz.case import Case, make_case
from support.fuzz.figures import Figures
from support.fuzz.framing import Answer, answers_in, requests_in
from support.fuzz.oracle import Fault, check
from support.fuzz.reference import Sizes
from support.models.model import register_toy
from support.models.toy import NAME, ROW
from support.serving_support import ServingProcess, until
from support.soak import FaultRow, size

SEED = int(os.environ.get("FUZZ_SEED") or 1)
CASES = size(200, 10_000)
AT_ONCE = 8
PATIENCE_S = 120
pytestmark = pytest.mark.timeout(1800)


async def send(port: int, case: Case, figures: Figures) -> None:
    """One connection from its first byte to its last."""
    found = requests_in(case.stream)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = bytearray()
    is_closed = False
    try:
        for piece in case.pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if case.end == "abort":
            writer.transport.abort()
        async with asyncio.timeout(PATIENCE_S):
            while len(answers_in(bytes(data), found.asked)[0]) < found.answers:
                part = await reader.read(65536)
                if not part:
                    is_closed = True
                    break
                data += part
    except ConnectionError:  # the server had closed it
        is_closed = True
    finally:
        writer.close()
    answers: list[Answer]
    answers, rest = answers_in(bytes(data), found.asked)
    is_closed |= case.end == "abort"
    unanswered = check(case, found, answers, rest, Sizes(), is_closed=is_closed)
    figures.add(len(found.asked), answers, unanswered)


async def send_all(port: int, figures: Figures) -> list[str]:
    """What was wrong with each case that failed."""
    numbers, faults = iter(range(CASES)), []

    async def work() -> None:
        for number in numbers:
            case = make_case(SEED, number)
            try:
                await send(port, case, figures)
            except Fault as fault:
                faults.append(f"{case.name}: {fault}")

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return faults


def test_broken_requests_over_sockets(
    mlflow_url: str, tmp_path: Path, tell: Callable[[FaultRow], None]
) -> None:
    register_toy(mlflow_url, NAME, 1, alias="champion")
    figures = Figures()
    with ServingProcess(tmp_path / "server", mlflow_url, f"models:/{NAME}@champion") as server:
        server.wait_for_version("1")
        faults = asyncio.run(send_all(server.port, figures))
        until(lambda: "modelyard_in_flight 0.0" in server.http.get("/metrics").text, "its end")
        assert server.http.post("/predict", json=ROW).json()["prediction"] == [1012.5]
        assert not [line for line in server.log() if line["level"] == "ERROR"]
    asked = f"{figures.requests} requests"
    tell(FaultRow(f"broken requests over sockets (seed {SEED})", CASES, len(faults), asked))
    assert not faults, "\n".join(faults[:10])
