"""`modelyard traffic` on the command line, against a report that is served over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from modelyard.cli.traffic import add_commands
from modelyard.traffic.plan import Mode, Plan, PlanStore
from modelyard.traffic.report import ArmReport, Report

AB = Plan(mode=Mode.AB, share_percent=50, header="X-User-Id", changed_by="ada")


def report_of(plan: Plan) -> Report:
    return Report(
        plan=plan,
        applied=True,
        trouble="",
        challengers=1,
        counting_since=datetime.now(UTC),
        champion=ArmReport(requests=30, mean_score=5, p10_score=1.5, p50_score=4, p90_score=9.75),
        challenger=ArmReport(requests=10, classes={"ant": 1, "bee": 3}),
        with_key=28,
        without_key=12,
    )


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """A service that applies at once whatever plan lies in `folder`; its port."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = report_of(PlanStore(folder).read()).model_dump_json().encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def call(folder: Path, *words: str) -> str:
    """What the command says."""
    app = typer.Typer()
    add_commands(app)
    with served(folder) as port:
        environment = {"TRAFFIC_PORT": str(port), "TRAFFIC_STATE_DIR": str(folder)}
        done = CliRunner().invoke(app, words, env=environment, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("words", "mode", "share"),
    [
        (["--ab"], Mode.AB, 50),
        (["--ab", "--why", "a test"], Mode.AB, 50),
        (["--ab", "20"], Mode.AB, 20),
        (["--ab=20"], Mode.AB, 20),
        (["--canary"], Mode.CANARY, 10),
        (["--canary", "--json"], Mode.CANARY, 10),
        (["--canary", "2.5"], Mode.CANARY, 2.5),
    ],
)
def test_a_share_may_be_left_out(
    tmp_path: Path, words: list[str], mode: Mode, share: float
) -> None:
    call(tmp_path, *words)
    plan = PlanStore(tmp_path).read()
    assert (plan.mode, plan.share_percent) == (mode, share)


def test_requests_without_a_key_are_told(tmp_path: Path) -> None:
    PlanStore(tmp_path).write(AB)
    said = call(tmp_path)
    assert "12 of 40 requests had none" in said
    told = json.loads(call(tmp_path, "--json"))
    assert (told["with_key"], told["without_key"]) == (28, 12)


def test_the_scores_of_both_arms_are_told(tmp_path: Path) -> None:
    PlanStore(tmp_path).write(AB)
    lines = [line.split() for line in call(tmp_path).splitlines()]
    champion = next(line for line in lines if line[:1] == ["champion"])
    challenger = next(line for line in lines if line[:1] == ["challenger"] and len(line) > 9)
    assert champion[-5:] == ["5", "1.5", "4", "9.75", "-"]
    assert challenger[-4:] == ["bee", "75.0%,", "ant", "25.0%"]
