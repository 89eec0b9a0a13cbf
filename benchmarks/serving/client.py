"""A load generator in Python: closed loop where wrk is missing, open loop for swaps.

`python -m benchmarks.serving.client PORT REQUESTS_FILE SECONDS CONNECTIONS [RATE RECORD_FILE]`

With a rate, requests fall due at fixed moments, whatever the server does, and a time counts from
the moment at which its request was due: a server that stalls cannot hide it. Prints one JSON line.
"""

from __future__ import annotations

import json
import select
import socket
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from time import perf_counter

import numpy as np

_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"content-length: "
_VERSION = b"x-model-version: "
_BODY_VERSION = b'version":"'
_CHUNK = 65536
_GRACE_S = 5.0


@dataclass(eq=False)
class Connection:
    """One connection, and the request that it waits for."""

    line: socket.socket
    received: bytes = b""
    due: float = 0.0

    def fileno(self) -> int:
        """For select."""
        return self.line.fileno()


@dataclass
class Record:
    """What came of each request: when it was due, seconds until its answer, version; 0 failed."""

    due: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    version: list[int] = field(default_factory=list)

    def add(self, due: float, now: float, answer: bytes) -> None:
        """One answer, or an empty one for a failure."""
        self.due.append(due)
        self.seconds.append(now - due)
        self.version.append(_version(answer))


class Load:
    """Asks through `connections` connections; see the module."""

    def __init__(self, port: int, requests: list[bytes], connections: int) -> None:
        self._port = port
        self._requests = cycle(requests)
        self._open = [Connection(self._connect()) for _ in range(connections)]
        self._free = deque(self._open)
        self.record = Record()

    def _connect(self) -> socket.socket:
        line = socket.create_connection(("127.0.0.1", self._port), timeout=_GRACE_S)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return line

    def run(self, seconds: float, rate: float) -> float:
        """Ask for `seconds`; returns how long it took. A rate of 0 asks whenever one is free."""
        started = perf_counter()
        ends, sent, late = started + seconds, 0, deque[float]()
        while (now := perf_counter()) < ends or (
            (late or len(self._free) < len(self._open)) and now < ends + _GRACE_S
        ):
            if rate:
                while (due := started + sent / rate) <= now and due < ends:
                    late.append(due)
                    sent += 1
                while late and self._free:
                    self._ask(late.popleft())
                wait = max(0.0, min(started + sent / rate - now, 0.1))
            else:
                while self._free and now < ends:
                    self._ask(perf_counter())
                wait = 0.1
            for connection in select.select(self._open, [], [], wait)[0]:
                self._hear(connection)
        for due in late:
            self.record.add(due, perf_counter(), b"")
        for connection in self._open:
            if connection not in self._free:
                self.record.add(connection.due, perf_counter(), b"")
        return perf_counter() - started

    def _ask(self, due: float) -> None:
        connection = self._free.popleft()
        connection.due = due
        connection.line.sendall(next(self._requests))

    def _hear(self, connection: Connection) -> None:
        try:
            data = connection.line.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:  # the server closed it
            if connection not in self._free:
                self.record.add(connection.due, perf_counter(), b"")
                self._free.append(connection)
            connection.line.close()
            connection.line, connection.received = self._connect(), b""
            return
        connection.received += data
        if _is_whole(connection.received):
            self.record.add(connection.due, perf_counter(), connection.received)
            connection.received = b""
            self._free.append(connection)


def _is_whole(received: bytes) -> bool:
    head = received.find(_END_OF_HEAD)
    if head < 0:
        return False
    start = received.lower().find(_LENGTH, 0, head)
    if start < 0:
        return received.endswith(b"0\r\n\r\n")  # chunked
    length = received[start + len(_LENGTH) :].split(b"\r", 1)[0]
    return len(received) >= head + len(_END_OF_HEAD) + int(length)


def _version(answer: bytes) -> int:
    """The version that answered 200, -1 where none is named, 0 for a failure or a torn answer."""
    if not answer.startswith(b"HTTP/1.1 200"):
        return 0
    start = answer.find(_VERSION)
    if start < 0:
        return -1
    version = answer[start + len(_VERSION) :].split(b"\r", 1)[0]
    is_torn = _BODY_VERSION in answer and _BODY_VERSION + version + b'"' not in answer
    return 0 if is_torn else int(version)


def read_requests(path: Path) -> Iterator[bytes]:
    """The requests in a file as `wrk.lua` wants it."""
    data = path.read_bytes()
    while data:
        length, _, data = data.partition(b"\n")
        yield data[: int(length)]
        data = data[int(length) :]


def main(arguments: list[str]) -> int:
    """See the module."""
    port, path, seconds, connections = arguments[:4]
    rate, record_path = float(arguments[4] if arguments[4:] else 0), arguments[5:]
    load = Load(int(port), list(read_requests(Path(path))), int(connections))
    took = load.run(float(seconds), rate)
    record = load.record
    times = np.array(record.seconds) * 1e6
    versions = np.array(record.version)
    if record_path:
        np.savez(record_path[0], due=np.array(record.due), us=times, version=versions)
    p50, p99 = np.percentile(times, [50, 99])
    failed = int((versions == 0).sum())
    told = {"requests": len(times), "seconds": took, "failed": failed}
    told |= {"p50_us": p50, "p99_us": p99, "max_us": times.max()}
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
