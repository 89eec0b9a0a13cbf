"""`modelyard status` on the day when it is needed most: the registry is down, the servers serve."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from uuid import uuid4

import pytest

from support.models.model import register_toy
from support.network import free_port
from support.registry_commands import Run, commands_for
from support.servers import answers
from support.serving_support import ServingProcess, until


@pytest.fixture(scope="module")
def model(mlflow_url: str) -> str:
    """Its version 1 is champion."""
    name = f"shown-{uuid4().hex[:8]}"
    register_toy(mlflow_url, name, 1, alias="champion")
    return name


@pytest.fixture(scope="module")
def server(
    mlflow_url: str, model: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServingProcess]:
    """It serves version 1."""
    folder = tmp_path_factory.mktemp("serving")
    with ServingProcess(folder, mlflow_url, f"models:/{model}@champion") as running:
        running.wait_for_version("1")
        yield running


@pytest.fixture(scope="module")
def traffic_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service `traffic`, without a gateway."""
    folder, port = tmp_path_factory.mktemp("traffic"), free_port()
    settings = {
        "TRAFFIC_PORT": str(port),
        "TRAFFIC_SOCKET": str(folder / "control.sock"),
        "TRAFFIC_STATE_DIR": str(folder),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "modelyard.traffic"],
        env={**os.environ, **settings},
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{url}/report"), "the report of the traffic")
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def run(mlflow_url: str, model: str) -> Run:
    return commands_for(mlflow_url, model)


def around(server: ServingProcess, traffic_url: str) -> dict[str, str]:
    """Settings that tell `status` of everything but the registry."""
    host = f"127.0.0.1:{server.port}"
    return {"SERVING_URL": f"http://{host}", "SERVING_HOSTS": host, "TRAFFIC_URL": traffic_url}


def test_servers_and_traffic_are_shown_while_the_registry_is_down(
    run: Run, model: str, server: ServingProcess, traffic_url: str
):
    nobody = f"http://127.0.0.1:{free_port()}"
    done = run("status", MLFLOW_TRACKING_URI=nobody, **around(server, traffic_url))
    assert done.returncode == 6
    said = done.stdout.splitlines()
    assert said[0] == model
    assert any(f"aliases  unknown: The MLflow server at {nobody} does not" in line for line in said)
    serving = [line for line in said if f"{model} version 1 since" in line]
    assert len(serving) == 2  # by the gateway's address, and as a replica
    assert any(line.split()[:1] == ["split"] for line in said)
    assert "error: The model registry does not answer" in done.stderr
    assert "fix: " in done.stderr


def test_json_tells_the_same_while_the_registry_is_down(
    run: Run, model: str, server: ServingProcess, traffic_url: str
):
    settings = around(server, traffic_url)
    down = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{free_port()}"}
    done = run("status", "--json", **down, **settings)
    assert done.returncode == 6
    found = json.loads(done.stdout)
    assert (found["model"], found["aliases"]) == (model, None)
    assert "does not answer" in found["registry trouble"]
    assert (found["server"]["model"], found["server"]["version"]) == (model, "1")
    assert [replica["version"] for replica in found["replicas"]] == ["1"]
    assert found["traffic"]["plan"]["mode"] == "off"

    up = run("status", "--json", **settings)
    assert up.returncode == 0
    found = json.loads(up.stdout)
    assert (found["aliases"], found["registry trouble"]) == ({"champion": "1"}, "")
    assert found["server"]["version"] == "1"


def test_servers_are_shown_also_when_nobody_says_which_model_is_meant(
    run: Run, model: str, server: ServingProcess, traffic_url: str
):
    nobody = f"http://127.0.0.1:{free_port()}"
    settings = around(server, traffic_url)
    done = run("status", MLFLOW_TRACKING_URI=nobody, MODEL_NAME="", **settings)
    assert done.returncode == 6
    assert done.stdout.startswith("no model is named\n")
    assert f"{model} version 1 since" in done.stdout
