"""The traffic driver sees what is wrong with an answer; its server here gives wrong ones."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.traffic import AMOUNTS, Traffic, is_numbered, numbered_batch, numbered_row
from support.traffic_report import STEADY

TESTS = Path(__file__).parents[1]


class Server(ThreadingHTTPServer):
    """Answers as version 7 does, or as `misbehaviour` says."""

    misbehaviour = ""
    hang_s = 0.5
    connections = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_POST(self) -> None:
        row = json.loads(self.rfile.read(int(self.headers["content-length"])))
        does = self.server.misbehaviour
        amounts = row["columns"]["amount"] if "columns" in row else [row["amount"]]
        number = 6 if does == "stale" else 7
        body = {
            "prediction": [AMOUNTS * number + amount for amount in amounts],
            "model": {"version": "6" if does == "torn" else "7"},
        }
        if does == "hang":
            time.sleep(self.server.hang_s)
        if does == "close":
            self.close_connection = True
            return
        text = json.dumps({"detail": "away"} if does == "refuse" else body).encode()
        self.send_response(503 if does == "refuse" else 200)
        request_id = "another" if does == "mixed" else self.headers["x-request-id"]
        self.send_header("x-request-id", request_id)
        self.send_header("x-model-version", "7")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_words: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield found
        found.shutdown()


def url_of(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/predict"


@pytest.mark.parametrize(
    ("misbehaviour", "fault"),
    [
        ("torn", "the header names version 7, the body 6"),
        ("stale", "version 7 answered with another's number"),
        ("mixed", "the answer to another request"),
        ("refuse", "503 away"),
        ("close", "ServerDisconnectedError"),
        ("hang", "no answer in time"),
    ],
)
def test_every_kind_of_wrong_answer_is_a_failure_of_its_phase(server, misbehaviour, fault):
    options = {"row": numbered_row, "check": is_numbered, "timeout_s": 0.3}
    with Traffic(url_of(server), 100, **options) as traffic:
        time.sleep(0.1)
        server.misbehaviour = misbehaviour
        traffic.mark("wrong")
        time.sleep(0.2)
    report = traffic.report()
    wrong = report.phase("wrong")
    assert wrong.failed == wrong.requests > 5
    assert all(found.startswith(fault) for found in wrong.faults), wrong.faults
    assert report.phase(STEADY).requests - report.phase(STEADY).failed > 5
    assert report.failed == len(traffic.failures)
    assert wrong.recovery_s > 0


def test_good_answers_keep_their_connection_and_are_counted_by_phase_and_version(server):
    with Traffic(url_of(server), 200, row=numbered_batch(3), check=is_numbered) as traffic:
        time.sleep(0.3)
        with traffic.phase("event"):
            time.sleep(0.2)
        with traffic.phase("event"):
            time.sleep(0.2)
    report = traffic.report()
    assert report.failed == 0
    assert server.connections < report.requests / 2
    assert [phase.name for phase in report.phases] == [STEADY, "event"]
    assert report.phase("event").turns == 2
    assert report.versions["7"].answers == report.requests == len(traffic.versions)
    steady = report.phase(STEADY)
    assert steady.p50_ms <= steady.p99_ms <= steady.p999_ms <= steady.max_ms


def test_a_time_counts_from_the_moment_the_request_was_due(server):
    """One connection that hangs holds the requests after it up, and their times show it."""
    server.misbehaviour = "hang"
    with Traffic(url_of(server), 10, row=numbered_row, connections=1) as traffic:
        time.sleep(0.35)
    assert traffic.report().phase(STEADY).max_ms > 2 * server.hang_s * 1000


def test_the_command_marks_by_time_and_tells_a_script_what_failed(server):
    command = [sys.executable, "-m", "support.traffic", "--url", url_of(server), "--numbered"]
    command += ["--rate", "50", "--seconds", "0.6", "--mark", "0.3=later"]
    done = subprocess.run(
        [*command, "--json"], cwd=TESTS, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert [phase["name"] for phase in told["phases"]] == [STEADY, "later"]
    assert (told["failed"], list(told["versions"])) == (0, ["7"])
    server.misbehaviour = "refuse"
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "503 away" in done.stdout
