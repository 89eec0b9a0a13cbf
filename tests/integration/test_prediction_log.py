"""Who got an answer can trace it: also after a kill, a full disk, a promotion."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow.tracking import MlflowClient

from modelyard.prediction_log.search import find_predictions, log_files
from support.models.model import register_toy
from support.models.toy import ROW
from support.serving_support import ServingProcess

NAME = "logged"
CLIENTS = 8
REQUESTS = 150


@pytest.fixture(scope="module")
def versions(mlflow_url: str) -> list[str]:
    return [register_toy(mlflow_url, NAME, number) for number in (1, 2)]


def promote(mlflow_url: str, version: str) -> None:
    MlflowClient(mlflow_url).set_registered_model_alias(NAME, "champion", version)


@pytest.fixture
def server(mlflow_url: str, versions: list[str], tmp_path: Path) -> Iterator[ServingProcess]:
    promote(mlflow_url, versions[0])
    with ServingProcess(tmp_path, mlflow_url, f"models:/{NAME}@champion") as running:
        running.wait_for_version(versions[0])
        yield running


def folder_of(server: ServingProcess) -> Path:
    return Path(server.environment["SERVING_PREDICTION_LOG_DIR"])


def trace(server: ServingProcess, *words: str) -> subprocess.CompletedProcess[str]:
    """`modelyard trace`, as whoever is beside the server calls it."""
    return subprocess.run(
        ["modelyard", "trace", *words],
        env=server.environment | {"MODEL_NAME": NAME},
        capture_output=True,
        text=True,
        check=False,
    )


def ask(server: ServingProcess, row: Any = ROW, **headers: str) -> httpx.Response:
    answer = server.http.post("/predict", json=row, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer


def test_the_answer_to_a_request_is_traced_to_its_version(
    server: ServingProcess, mlflow_url: str, versions: list[str]
):
    first = ask(server).headers["x-request-id"]
    promote(mlflow_url, versions[1])
    server.wait_for_version(versions[1])
    ask(server, [ROW, ROW], **{"X-Request-Id": "order-7"})
    done = trace(server, first)
    assert (done.returncode, done.stderr) == (0, "")
    words = done.stdout.split()
    assert words[:3] == [NAME, "version", versions[0]]
    assert "c0ffee" in words  # the commit
    facts = json.loads(trace(server, "order-7", "--json").stdout)
    (request,) = facts["requests"]
    assert (request["version"], request["rows"], request["path"]) == (versions[1], 2, "/predict")
    (version,) = facts["versions"]
    assert (version["version"], version["tags"]["git.commit"]) == (versions[1], "c0ffee")


def test_an_id_that_two_versions_answered_is_traced_to_both(
    server: ServingProcess, mlflow_url: str, versions: list[str]
):
    """As a shadow does it, or a client that uses its id again."""
    for version in (*versions, versions[1]):
        promote(mlflow_url, version)
        server.wait_for_version(version)
        ask(server, **{"X-Request-Id": "twice"})
    done = trace(server, "twice")
    assert done.returncode == 0
    for version in versions:
        assert f"{NAME} version {version}\n" in done.stdout
    assert done.stdout.count("  answered  20") == 3
    assert "request, answer 2" in done.stdout


def test_an_id_that_nobody_answered_is_said_to_be_none(server: ServingProcess):
    ask(server)
    refused = server.http.post("/predict", json={})
    assert refused.status_code == 422
    for unknown in (refused.headers["x-request-id"], "latest", "99"):
        done = trace(server, unknown)
        assert done.returncode == 6
        assert str(folder_of(server)) in done.stderr
        assert "fix: " in done.stderr


def test_a_log_that_is_off_is_said_to_be_empty(server: ServingProcess, tmp_path: Path):
    done = subprocess.run(
        ["modelyard", "trace", "6f1c2a-1b"],
        env=server.environment
        | {"MODEL_NAME": NAME, "SERVING_PREDICTION_LOG_DIR": str(tmp_path / "no")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 6
    assert "is empty (SERVING_PREDICTION_LOG=off?)" in done.stderr


def test_a_version_that_is_gone_is_still_named(server: ServingProcess, mlflow_url: str):
    version = register_toy(mlflow_url, NAME, 3)
    promote(mlflow_url, version)
    server.wait_for_version(version)
    request_id = ask(server).headers["x-request-id"]
    MlflowClient(mlflow_url).delete_model_version(NAME, version)
    done = trace(server, request_id)
    assert done.returncode == 6
    assert f"{NAME} version {version} answered this request at 20" in done.stderr


def test_whoever_has_an_answer_is_in_the_log_also_when_the_server_is_killed(
    server: ServingProcess,
):
    answered: list[str] = []
    enough = threading.Event()

    def keep_asking() -> None:
        with httpx.Client(base_url=server.http.base_url) as client:
            while True:
                try:
                    answer = client.post("/predict", json=ROW)
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                answered.append(answer.headers["x-request-id"])
                if len(answered) >= REQUESTS:
                    enough.set()

    threads = [threading.Thread(target=keep_asking) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    enough.wait(30)
    server.process.send_signal(signal.SIGKILL)
    for thread in threads:
        thread.join()
    text = "".join(path.read_text() for path in log_files(folder_of(server)))
    logged = {json.loads(line)["id"] for line in text.splitlines()}
    assert len(answered) == len(set(answered)) >= REQUESTS
    assert set(answered) <= logged


def test_a_full_disk_costs_lines_and_no_answer_and_is_said(server: ServingProcess):
    """As a limit on the size of the server's files."""
    first = ask(server).headers["x-request-id"]
    size = log_files(folder_of(server))[0].stat().st_size
    no_limit = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size + 20, no_limit[1]))
    for _ in range(3):
        ask(server)
    metrics = server.http.get("/metrics").text
    assert 'modelyard_predictions_logged_total{result="lost"} 3.0' in metrics
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, no_limit)
    last = ask(server).headers["x-request-id"]
    text = log_files(folder_of(server))[0].read_text()
    assert [json.loads(line)["id"] for line in text.splitlines()] == [first, last]


def test_two_servers_share_a_folder(
    server: ServingProcess, mlflow_url: str, versions: list[str], tmp_path: Path
):
    log = folder_of(server)
    settings = {"SERVING_PREDICTION_LOG_DIR": str(log), "SERVING_PREDICTION_LOG": "full"}
    uri = f"models:/{NAME}/{versions[1]}"
    with ServingProcess(tmp_path / "other", mlflow_url, uri, **settings) as other:
        other.wait_for_version(versions[1])
        ids = [ask(one).headers["x-request-id"] for one in (server, other, server)]
        found = [find_predictions(log, request_id)[0] for request_id in ids]
    assert [one.version for one in found] == [versions[0], versions[1], versions[0]]
    assert found[1].fields["request"] == ROW
    assert len(log_files(log)) == 2
