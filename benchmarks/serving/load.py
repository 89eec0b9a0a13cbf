"""The load: bounded in time, on a core of its own, against 127.0.0.1 only."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.places import BENCHMARKS, CLIENT_CORE, ROOT, STATE, on_core

_LUA = BENCHMARKS / "serving" / "wrk.lua"
_PATIENCE_S = 30.0
_TIMEOUT_S = 20


class LoadError(Exception):
    """The load generator failed, or a request did."""


@dataclass(frozen=True)
class Measured:
    """One turn of one contestant."""

    requests: int
    seconds: float
    failed: int
    p50_us: float
    p99_us: float
    max_us: float

    @property
    def rate(self) -> float:
        """Requests answered a second."""
        return self.requests / self.seconds


def generator() -> str:
    """What makes the load: wrk where it is installed, else our own in Python, which is slower."""
    return "wrk" if shutil.which("wrk") else "client.py"


def write_requests(name: str, requests: Sequence[bytes]) -> Path:
    """A file that both generators read."""
    folder = STATE / "requests"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name.lower().translate(str.maketrans(" /,()", "-----"))
    path.write_bytes(b"".join(b"%d\n%s" % (len(request), request) for request in requests))
    return path


def ask(
    port: int, requests: Path, seconds: float, connections: int, *, is_warm_up: bool = False
) -> Measured:
    """A closed loop: every connection asks again as soon as it is answered.

    Raises:
        LoadError: a request failed.
    """
    if generator() == "wrk":
        whole = math.ceil(seconds)  # wrk counts whole seconds
        command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", f"--timeout={_TIMEOUT_S}s"]
        command += [f"-s{_LUA}", f"http://127.0.0.1:{port}", "--", str(requests)]
    else:
        command = [*_client(port, requests, seconds, connections)]
    measured = _run(command, seconds)
    if measured.failed or not (measured.requests or is_warm_up):
        raise LoadError(
            f"{measured.failed} of {measured.requests} requests failed: {requests.name}"
        )
    return measured


def start_open_loop(
    port: int, requests: Path, seconds: float, connections: int, rate: float, record: Path
) -> subprocess.Popen[str]:
    """An open loop in a process of its own; `record` gets every single time."""
    command = [*_client(port, requests, seconds, connections), str(rate), str(record)]
    with on_core(CLIENT_CORE):
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603


def parse(output: str) -> Measured:
    """What a generator said in its last line."""
    return Measured(**json.loads(output.strip().splitlines()[-1]))


def _client(port: int, requests: Path, seconds: float, connections: int) -> list[str]:
    words = [port, requests, seconds, connections]
    return [sys.executable, "-m", "benchmarks.serving.client", *map(str, words)]


def _run(command: list[str], seconds: float) -> Measured:
    with on_core(CLIENT_CORE):
        try:
            done = subprocess.run(  # noqa: S603
                command,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=seconds + _PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise LoadError(f"{command[0]} did not end") from error
    if done.returncode != 0:
        raise LoadError(f"{command[0]} failed: {done.stderr[-500:]}")
    return parse(done.stdout)
