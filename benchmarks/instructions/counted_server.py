"""A prediction server under valgrind's callgrind, and how many instructions its answers take."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from benchmarks.instructions.questions import Question
from benchmarks.serving.network import answers_ok, free_port
from benchmarks.serving.registry import ALIAS

_SERVER = Path(__file__).with_name("quiet_server.py")
_START_TIMEOUT_S = 240.0
_ANSWER_TIMEOUT_S = 120.0
_COUNTS = 5
_WARM_UP = 2
_TAIL_BYTES = 3000
_NEVER_S = "3600"
_IS_READY = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class CountError(Exception):
    """A server gave an answer that was not expected."""


class StartError(CountError):
    """A server did not come up: none of its routes can be counted."""


class CountedServer:
    """`python -m modelyard.serving` from the sources in `source`, following the champion.

    What depends on the clock is put off, so that a count does not depend on the machine: no look
    at the alias, no tick of uvicorn's, no log line for a refused request (so many a second). A
    model's child process is not counted.
    """

    def __init__(self, source: Path, folder: Path, registry_url: str, model: str) -> None:
        """Start it; the first count waits for it."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._log = folder / "log"
        self.port = free_port()
        self._is_ready = False
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "PYTHONPATH": str(source),
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "MLFLOW_TRACKING_URI": registry_url,
            "MODEL_URI": f"models:/{model}@{ALIAS}",
            "REGISTRY_TIMEOUT_S": "60",
            "SERVING_HOST": "127.0.0.1",
            "SERVING_PORT": str(self.port),
            "SERVING_CACHE_DIR": str(folder / "cache"),
            "SERVING_PREDICTION_LOG_DIR": str(folder / "predictions"),
            "SERVING_POLL_INTERVAL_S": _NEVER_S,
            "SERVING_REQUEST_TIMEOUT_S": _NEVER_S,
            "SERVING_CHILD_START_TIMEOUT_S": "120",
            "SERVING_LOG_LEVEL": "warning",
        }
        command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-line=no"]
        command += [f"--vgdb-prefix={folder / 'vgdb'}", f"--callgrind-out-file={folder / 'counts'}"]
        command += [sys.executable, "-P", str(_SERVER)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                command, env=environment, cwd=folder, stdout=log, stderr=log
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def count(self, question: Question) -> float:
        """Instructions of one answer to `question`.

        The least of some counts: what else happens, such as a whole garbage collection, only adds.

        Raises:
            StartError: the server did not come up.
            CountError: it was answered otherwise.
        """
        self._wait_until_ready()
        address = ("127.0.0.1", self.port)
        found = []
        try:
            with ExitStack() as stack:
                lines = [
                    stack.enter_context(socket.create_connection(address, _ANSWER_TIMEOUT_S))
                    for _ in range(question.connections)
                ]
                for _ in range(_WARM_UP):
                    self._ask(lines, question)
                for _ in range(_COUNTS):
                    self._command("zero")
                    self._ask(lines, question)
                    found.append(self._counted() / question.requests)
        except OSError as error:
            raise CountError(f"expected an answer, found {error!r}") from error
        return min(found)

    def _wait_until_ready(self) -> None:
        if self._is_ready:
            return
        end = time.monotonic() + _START_TIMEOUT_S
        while not answers_ok(self.port, _IS_READY):
            if self._process.poll() is not None or time.monotonic() > end:
                tail = self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
                raise StartError(f"the server does not come up:\n{tail}")
            time.sleep(0.2)
        self._command("instrumentation", "on")
        self._is_ready = True

    def _ask(self, lines: list[socket.socket], question: Question) -> None:
        """All requests of a count; those over several connections meet a server that is halted.

        So it finds them all at once when it goes on, however busy the machine is.
        """
        for _ in range(question.requests // len(lines)):
            if len(lines) > 1:
                self._process.send_signal(signal.SIGSTOP)
            for line in lines:
                line.sendall(question.request)
            if len(lines) > 1:
                self._process.send_signal(signal.SIGCONT)
            for line in lines:
                status, answer = _receive(line)
                if status != question.status:
                    raise CountError(
                        f"expected {question.status}, found {status}: {answer[:200]!r}"
                    )

    def _counted(self) -> int:
        """Instructions since the last `zero`."""
        before = set(self._folder.glob("counts.*"))
        self._command("dump")
        (new,) = set(self._folder.glob("counts.*")) - before
        totals = [line for line in new.read_text().splitlines() if line.startswith("totals:")]
        new.unlink()
        return int(totals[0].removeprefix("totals:"))

    def _command(self, *words: str) -> None:
        prefix = f"--vgdb-prefix={self._folder / 'vgdb'}"
        subprocess.run(  # noqa: S603
            ["vgdb", prefix, f"--pid={self._process.pid}", *words],  # noqa: S607
            check=True,
            capture_output=True,
            timeout=_ANSWER_TIMEOUT_S,
        )


def _receive(line: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer."""
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += _chunk(line)
    head = received[:end].lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while len(received) < end + 4 + length:
        received += _chunk(line)
    return int(head.split(b" ", 2)[1]), received[end + 4 :]


def _chunk(line: socket.socket) -> bytes:
    chunk = line.recv(65536)
    if not chunk:
        raise CountError("the server closed a connection before its answer was whole")
    return chunk
