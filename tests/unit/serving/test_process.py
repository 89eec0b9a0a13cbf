"""The process: what it prints when it cannot start, its log lines, the container's probe."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.logs import JsonLines, PlainLines, configure_logs
from modelyard.serving.probe import DEFAULT_PORT
from modelyard.serving.server import main
from modelyard.settings import ServingSettings

SERVE = [sys.executable, "-m", "modelyard.serving"]
PROBE = [sys.executable, "-m", "modelyard.serving.probe"]


@pytest.fixture
def undisturbed() -> Iterator[None]:
    """Signal handlers and loggers are afterwards what they were."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    signals = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    root.handlers = handlers
    root.setLevel(level)
    for number, handler in signals.items():
        signal.signal(number, handler)


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {"PATH": os.environ["PATH"], "MODEL_URI": "models:/toy@champion", **environment}
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"MODEL_URI": ""}, ["MODEL_URI", ".env.example"]),
        ({"MODEL_URI": "models://toy@champion"}, ["models:/NAME@ALIAS", "one slash"]),
        ({"SERVING_PORT": "http"}, ["SERVING_PORT"]),
        ({"MLFLOW_TRACKING_URI": "sqlite:///x.db"}, ["MLFLOW_TRACKING_URI", "http"]),
        ({"SERVING_CACHE_DIR": "/proc/nowhere"}, ["/proc/nowhere", "SERVING_CACHE_DIR"]),
        ({"SERVING_PORT": "taken"}, ["cannot be used", "SERVING_PORT"]),
    ],
)
def test_what_keeps_it_from_starting_is_one_sentence(
    tmp_path: Path, environment, words, monkeypatch, capsys, undisturbed
):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        if environment.get("SERVING_PORT") == "taken":
            environment = {"SERVING_PORT": str(taken.getsockname()[1])}
        defaults = {
            "SERVING_CACHE_DIR": str(tmp_path),
            "SERVING_PREDICTION_LOG_DIR": str(tmp_path / "predictions"),
            "SERVING_HOST": "127.0.0.1",
        }
        for name, value in ({"MODEL_URI": "models:/toy@champion"} | defaults | environment).items():
            monkeypatch.setenv(name, value)
        assert main() == 2
    printed = capsys.readouterr().err
    for word in words:
        assert word in printed


def test_it_ends_with_the_code_of_its_error_and_without_a_traceback():
    done = run(SERVE, MODEL_URI="")
    assert done.returncode == 2
    assert json.loads(done.stderr)["message"].startswith("Configuration is not valid: ")
    assert "Traceback" not in done.stderr


def test_the_serving_process_imports_nothing_heavy():
    code = (
        "import sys, modelyard.serving.server\n"
        "print([m for m in ('mlflow', 'pandas', 'sklearn', 'torch', 'onnx') if m in sys.modules])"
    )
    assert run([sys.executable, "-c", code]).stdout.strip() == "[]"


def test_the_probe_imports_next_to_nothing():
    code = (
        "import sys, modelyard.serving.probe\n"
        "print([m for m in ('asyncio', 'http', 'urllib.request', 'numpy', 'pydantic', 'email')\n"
        "       if m in sys.modules])"
    )
    assert run([sys.executable, "-c", code]).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("status", "code"), [("200 OK", 0), ("204 No Content", 0), ("503 Service Unavailable", 1)]
)
def test_the_probe_asks_for_its_path(status: str, code: int):
    asked = []

    def answer(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            asked.append(connection.recv(4096).decode().splitlines()[0])
            connection.sendall(f"HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n".encode())

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=(server,))
        thread.start()
        path = ["/health"] if code else []
        done = run([*PROBE, *path], SERVING_PORT=str(server.getsockname()[1]))
        thread.join()
    assert done.returncode == code
    assert asked == [f"GET {'/health' if code else '/livez'} HTTP/1.1"]


def test_the_probe_and_the_server_have_one_default_port():
    assert ServingSettings.model_fields["port"].default == DEFAULT_PORT


def test_the_probe_says_when_nobody_answers():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    done = run(PROBE, SERVING_PORT=port)
    assert done.returncode == 1
    assert f"no answer on port {port}" in done.stderr


def record(**fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "line\nwith %s", "args": ("é",), "levelname": "INFO"})
    made.fields = fields
    return made


def test_a_json_line_is_one_object_with_the_records_fields():
    line = JsonLines().format(record(request_id="abc", path=Path("/x")))
    assert "\n" not in line
    value = json.loads(line)
    assert value["message"] == "line\nwith é"
    assert value["request_id"] == "abc"
    assert value["level"] == "info"


def test_a_plain_line_has_the_fields_behind_the_message():
    assert PlainLines().format(record(request_id="abc")).endswith("with é request_id=abc")


def test_an_exception_is_part_of_its_json_line():
    try:
        int("boo")
    except ValueError:
        made = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info()})
    assert "ValueError: invalid literal" in json.loads(JsonLines().format(made))["exception"]


def test_the_level_holds_and_libraries_are_quiet(undisturbed):
    configure_logs("debug", "plain")
    assert logging.getLogger().level == logging.DEBUG
    assert logging.getLogger("httpx").level == logging.WARNING
    configure_logs("error", "json")
    assert logging.getLogger("uvicorn").level == logging.ERROR
