"""What `modelyard status` makes of the servers' answers; tests/stack asks real replicas."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from modelyard.cli.replicas import ServerStatus, ask_replicas, ask_server, disagreement

MODEL = {
    "name": "m",
    "version": "3",
    "loaded_at": "2026-11-20T10:06:24.750482Z",
    "stale": False,
    "last_error": None,
    "follower": {"state": "following", "wanted_version": "3"},
}
REFUSED = {
    **MODEL,
    "stale": True,
    "last_error": "Its files were changed.",
    "follower": {"state": "refused", "wanted_version": "4"},
}
DRAINING = {"detail": "The server is about to stop."}


@contextmanager
def server(model: tuple[int, Any], health: tuple[int, Any] = (200, {})) -> Iterator[int]:
    """A server with these answers to /model and /health; yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = model if self.path == "/model" else health
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield found.server_address[1]
        found.shutdown()


def test_a_server_that_is_well_says_since_when():
    with server((200, MODEL)) as port:
        (found,) = ask_replicas([f"127.0.0.1:{port}"])
    assert found.service == "127.0.0.1"
    assert found.address == f"http://127.0.0.1:{port}"
    assert found.sentence() == "m version 3 since 2026-11-20 10:06:24 UTC"


def test_a_server_with_the_version_before_says_which_it_should_serve_and_why_it_does_not():
    with server((200, REFUSED)) as port:
        found = ask_server(f"http://127.0.0.1:{port}")
    assert found.sentence() == (
        "m version 3 since 2026-11-20 10:06:24 UTC, not 4 (refused: Its files were changed.)"
    )


def test_a_server_that_drains_or_has_no_model_gives_its_reason():
    with server((200, MODEL), (503, DRAINING)) as port:
        assert "(The server is about to stop.)" in ask_server(f"http://127.0.0.1:{port}").sentence()
    with server((503, {"detail": "No model is promoted."})) as port:
        found = ask_server(f"http://127.0.0.1:{port}")
    assert (found.version, found.sentence()) == ("", "No model is promoted.")


def test_whoever_does_not_answer_or_answers_nonsense_is_no_traceback():
    with server((200, "what?")) as port:
        assert ask_server(f"http://127.0.0.1:{port}").why.startswith("no answer")
    assert ask_server(f"http://127.0.0.1:{port}").why == "no answer (ConnectError)"
    assert ask_replicas(["no-such-host.invalid:8000"]) == []
    assert ask_replicas([]) == []


def test_servers_that_differ_are_noted_by_service():
    one = ServerStatus("serving", "a", "http://a", version="3")
    other = replace(one, version="2")
    assert disagreement([one, one, ServerStatus("challenger", "c", "http://c", version="9")]) == ""
    assert disagreement([one, other]) == "serving serves 2 and 3"
    assert disagreement([one, replace(one, version="")]) == "serving serves 3 and nothing"
