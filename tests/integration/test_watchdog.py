"""A server whose event loop stands still ends, so that it is started again; no other one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from modelyard.errors import ExitCode
from support.network import free_port
from support.serving_support import until

LIMIT_S = 3.0
# The real server; once a file is there, its loop is given something to do.
SERVER = """
import asyncio, ctypes, pathlib, sys, threading, time
from modelyard.serving.watchdog import Watchdog
task, begins = sys.argv[1], pathlib.Path(sys.argv[2])
start = Watchdog.start

def burden(loop):
    while not begins.exists():
        time.sleep(0.05)
    if task == "block":
        loop.call_soon_threadsafe(time.sleep, 3600)
    elif task == "keep the interpreter":
        loop.call_soon_threadsafe(ctypes.PyDLL(None).sleep, 3600)
    else:
        for _ in range(12):
            loop.call_soon_threadsafe(time.sleep, 0.25)
            time.sleep(0.3)
        begins.unlink()

def start_burdened(self):
    start(self)
    threading.Thread(target=burden, args=(asyncio.get_running_loop(),), daemon=True).start()

Watchdog.start = start_burdened
from modelyard.serving.server import main
sys.exit(main())
"""


class Burdened:
    def __init__(self, process: subprocess.Popen[bytes], url: str, begins: Path, log: Path) -> None:
        self.process, self.url, self.begins, self.log = process, url, begins, log

    def is_alive(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez", timeout=60).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def burdened(folder: Path, task: str, **settings: str) -> Iterator[Burdened]:
    port, begins, log = free_port(), folder / "begin", folder / "server.log"
    environment = {
        **os.environ,
        "MODEL_URI": "models:/nothing@champion",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "SERVING_CACHE_DIR": str(folder / "cache"),
        "SERVING_PREDICTION_LOG": "off",
        "SERVING_HOST": "127.0.0.1",
        "SERVING_PORT": str(port),
        "SERVING_WATCHDOG_S": str(LIMIT_S),
        **settings,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, task, str(begins)],
            env=environment, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    server = Burdened(process, f"http://127.0.0.1:{port}", begins, log)
    try:
        until(server.is_alive, "the server")
        yield server
    finally:
        process.kill()
        process.wait()


def test_a_loop_that_stands_still_ends_the_server_and_says_where(tmp_path: Path):
    with burdened(tmp_path, "block") as server:
        server.begins.touch()
        assert server.process.wait(120) == ExitCode.STOOD_STILL
        warned, ended = (
            line for line in server.log.read_text().splitlines() if "has stood still" in line
        )
    assert '"level": "error"' in warned and '"level": "critical"' in ended
    assert "this server ends" in ended
    assert "run_forever" in ended or "server.py" in ended


def test_native_code_that_keeps_the_interpreter_to_itself_ends_it_too(tmp_path: Path):
    with burdened(tmp_path, "keep the interpreter", SERVING_WATCHDOG_S="0.5") as server:
        server.begins.touch()
        assert server.process.wait(120) == 1
        assert "Timeout" in server.log.read_text()


@pytest.mark.parametrize("limit_s", [LIMIT_S, 0])
def test_a_slow_loop_goes_on(tmp_path: Path, limit_s: float):
    with burdened(tmp_path, "slow down", SERVING_WATCHDOG_S=str(limit_s)) as server:
        server.begins.touch()
        until(lambda: not server.begins.exists(), "the slow time to end")
        assert server.is_alive()


def test_a_server_that_was_paused_goes_on(tmp_path: Path):
    with burdened(tmp_path, "nothing") as server:
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(2 * LIMIT_S)
        server.process.send_signal(signal.SIGCONT)
        assert server.is_alive()
        time.sleep(LIMIT_S)
        assert server.is_alive()
