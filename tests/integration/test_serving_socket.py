"""The serving process at its socket: it ends in peace, and hostile bytes harm nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.models.model import register_toy
from support.models.toy import ROW
from support.serving_support import ServingProcess, until

NAME = "served-at-its-socket"


@pytest.fixture(scope="module")
def uri(mlflow_url: str) -> str:
    """The toy model as champion."""
    register_toy(mlflow_url, NAME, 1, alias="champion")
    return f"models:/{NAME}@champion"


def test_sigterm_lets_a_request_finish(mlflow_url: str, tmp_path: Path, uri: str):
    body = json.dumps(ROW).encode()
    with ServingProcess(tmp_path / "server", mlflow_url, uri) as server:
        server.wait_for_version("1")
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body[:9])
            until(lambda: "in_flight 1.0" in server.http.get("/metrics").text, "the request")
            server.http.close()
            server.process.terminate()
            until(lambda: _is_closed(server.port), "the server to take no new connection")
            connection.sendall(body[9:])
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"1012.5" in answer
        assert server.process.wait(30) == 0
        assert server.log()[-1]["message"] == "Stopped."


def _is_closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_hostile_bytes_over_a_real_connection_harm_nothing(
    mlflow_url: str, tmp_path: Path, uri: str
):
    settings = {"SERVING_REQUEST_TIMEOUT_S": "1", "SERVING_MAX_BODY_BYTES": "65536"}
    with ServingProcess(tmp_path / "server", mlflow_url, uri, **settings) as server:
        server.wait_for_version("1")
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for request, status in [
            (head + b"Content-Length: 99999999999\r\n\r\n", b"413"),
            (head + b"Content-Length: -1\r\n\r\n", b"400"),
            (head + b"Content-Length: 9\r\n\r\n{", b"408"),
            (
                head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b" " * 4096 + b"\r\n",
                b"408",
            ),
            (b"\x00\xff\r\n\r\n", b"400"),
        ]:
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(request)
                assert connection.recv(65536).split()[1] == status, request[:80]

        def flood() -> Iterator[bytes]:
            for _ in range(2000):
                yield b" " * 65536

        resident = _resident_bytes(server)
        try:
            answer = server.http.post(
                "/predict", content=flood(), headers={"content-type": "application/json"}
            )
            assert answer.status_code == 413
        except httpx.WriteError:
            pass  # the connection may be closed on a client that goes on sending
        assert _resident_bytes(server) < resident + 32 * 2**20
        assert server.http.post("/predict", json=ROW).status_code == 200


def _resident_bytes(server: ServingProcess) -> float:
    for line in server.http.get("/metrics").text.splitlines():
        if line.startswith("process_resident_memory_bytes "):
            return float(line.split()[1])
    raise AssertionError("no such metric")
