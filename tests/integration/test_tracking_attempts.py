"""How long the client asks an MLflow server that fails: what the environment says, or little."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CODE = """
from mlflow import environment_variables as known
from modelyard.errors import RegistryUnavailableError
from modelyard.settings import TrainingSettings, read_settings
from modelyard.training.tracking.run import TrackedRun
try:
    TrackedRun.of(read_settings(TrainingSettings), "experiment", {}, print)
except RegistryUnavailableError:
    print(known.MLFLOW_HTTP_REQUEST_TIMEOUT.get())
"""


@pytest.mark.parametrize(
    ("settings", "attempts", "timeout_s"),
    [
        ({}, 3, "15"),
        ({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "", "MLFLOW_HTTP_REQUEST_TIMEOUT": ""}, 3, "15"),
        ({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "7"}, 1, "7"),
    ],
)
def test_the_environment_says_how_often_and_how_long(
    settings: dict[str, str], attempts: int, timeout_s: str
):
    asked: list[str] = []

    class Failing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        unset = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_HTTP_REQUEST")}
        server_and_patience = {
            "MLFLOW_TRACKING_URI": url,
            "TRACKING_PATIENCE_S": "0",
            "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",  # between attempts, which are counted here
        }
        done = subprocess.run(
            [sys.executable, "-c", CODE],
            env={**unset, **server_and_patience, **settings},
            capture_output=True,
            text=True,
            check=True,
        )
        server.shutdown()
    assert done.stdout.split() == [timeout_s]
    assert len(asked) == attempts, asked
