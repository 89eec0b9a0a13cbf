"""Bytes that no client library would send, and what is answered to them."""

from __future__ import annotations

import socket

import httpx

TIMEOUT_S = 60


def raw(port: int, sent: bytes) -> httpx.Response:
    """The first answer to `sent`."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as connection:
        connection.sendall(sent)
        return received(connection, has_body=not sent.startswith(b"HEAD"))


def received(connection: socket.socket, *, has_body: bool = True) -> httpx.Response:
    """The next answer on a connection on which one request waits."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _more(connection, answer)
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [tuple(line.split(": ", 1)) for line in lines]
    lengths = [int(value) for name, value in headers if name.lower() == "content-length"]
    while has_body and len(body) < sum(lengths):
        body += _more(connection, answer)
    headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
    return httpx.Response(int(first.split()[1]), headers=headers, content=body)


def _more(connection: socket.socket, before: bytes) -> bytes:
    part = connection.recv(65536)
    assert part, f"the connection ended after {before!r}"
    return part
