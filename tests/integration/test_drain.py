"""A server that is told to stop: not ready at once, answering for a while, then gone."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.models.model import register_toy
from support.models.toy import ROW
from support.serving_support import ServingProcess, until

READINESS = ("/health", "/ping", "/v2/health/ready", "/v2/models/drained/ready")


@pytest.fixture
def server(mlflow_url: str, tmp_path: Path) -> Iterator[ServingProcess]:
    """One that has a model and four seconds to drain."""
    version = register_toy(mlflow_url, "drained", 1, alias="champion")
    uri = "models:/drained@champion"
    with ServingProcess(tmp_path / "server", mlflow_url, uri, SERVING_DRAIN_S="4") as made:
        made.wait_for_version(version)
        yield made


def test_a_server_that_drains_is_not_ready_and_still_answers(server: ServingProcess):
    for path in READINESS:
        assert server.http.get(path).status_code == 200
    server.process.send_signal(signal.SIGTERM)
    until(lambda: server.http.get("/health").status_code == 503, "the server to say that it stops")
    for path in READINESS:
        refusal = server.http.get(path)
        assert refusal.status_code == 503
        assert "about to stop" in refusal.text
    assert server.http.get("/livez").status_code == 200
    assert server.http.get("/model").json()["version"] == "1"
    for path, body in (("/predict", ROW), ("/predict", [ROW]), ("/invocations", {"inputs": [ROW]})):
        answer = httpx.post(f"http://127.0.0.1:{server.port}{path}", json=body)  # a new connection
        assert answer.headers["connection"] == "close"
        if path == "/predict":
            assert answer.status_code == 200
    assert server.process.wait(30) == 0


def test_what_is_under_way_when_the_port_closes_is_finished(server: ServingProcess):
    body = b'{"amount":7,"merchant_category":"grocery","hour":9,"is online":true,"note":"x"}'
    head = b"POST /predict HTTP/1.1\r\nHost: s\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as slow:
        slow.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body[:10])
        until(lambda: "in_flight 1.0" in server.http.get("/metrics").text, "the request")
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)  # impatient: the port closes now
        until(lambda: not accepts(server.port), "the port to close")
        time.sleep(0.5)
        assert server.process.poll() is None
        slow.sendall(body[10:])
        slow.settimeout(10)
        assert b"1007.0" in slow.makefile("rb").read()
    server.process.wait(30)


def accepts(port: int) -> bool:
    """Whether anybody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
