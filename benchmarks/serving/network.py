"""Free ports, and one HTTP exchange over a plain socket."""

from __future__ import annotations

import random
import socket
from contextlib import suppress

_TIMEOUT_S = 30.0
_OK = 200


class BrokenAnswerError(Exception):
    """The connection ended before an answer was whole."""


def free_port() -> int:
    """A port of the loopback that is free.

    Not one of those that the system gives to clients (32768 and up on Linux): between the question
    and its use another program's connection would take it now and then.
    """
    while True:
        port = random.randrange(15_000, 32_000)  # noqa: S311 - no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def exchange(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a whole request on a connection of its own; status, headers and body of the answer.

    Raises:
        OSError: nothing listens.
        BrokenAnswerError: the answer is not whole.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            status = int((answer.readline().split() or [b"", b"0"])[1])
            headers: dict[str, str] = {}
            while (line := answer.readline().strip()) != b"":
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            if headers.get("transfer-encoding") == "chunked":
                return status, headers, _chunks(answer)
            length = int(headers.get("content-length", -1))
            body = answer.read(length)
    if status == 0 or length != len(body):
        raise BrokenAnswerError
    return status, headers, body


def answers_ok(port: int, request: bytes) -> bool:
    """Whether `request` is answered 200."""
    with suppress(OSError, BrokenAnswerError):
        return exchange(port, request)[0] == _OK
    return False


def _chunks(answer: object) -> bytes:
    found = []
    while size := int(answer.readline(), 16):  # type: ignore[attr-defined]
        found.append(answer.read(size))  # type: ignore[attr-defined]
        answer.readline()  # type: ignore[attr-defined]
    return b"".join(found)
