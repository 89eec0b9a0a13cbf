"""`make demo`: the main job without Docker, by the command of the README, until Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import httpx

from support.network import free_port
from support.servers import ROOT


def test_make_demo_trains_serves_and_stops_cleanly(tmp_path: Path):
    mlflow_port, gateway_port = free_port(), free_port()
    demo = subprocess.Popen(
        ["make", "demo"],
        cwd=ROOT,
        env={
            **os.environ,
            "MLFLOW_PORT": str(mlflow_port),
            "GATEWAY_PORT": str(gateway_port),
            "MODELYARD_STATE_DIR": str(tmp_path),
            "MODELYARD_CONFIG": "configs/train-smoke.yaml",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # so that Ctrl-C reaches make and what it started, as in a terminal
    )
    printed: list[str] = []
    try:
        assert demo.stdout is not None
        for line in demo.stdout:
            printed.append(line)
            if "Ctrl-C stops everything." in line:
                break
        output = "".join(printed)
        assert demo.poll() is None, output
        _check_the_printed_prediction(output, gateway_port)
        assert httpx.get(f"http://127.0.0.1:{mlflow_port}/").status_code == httpx.codes.OK
        health = httpx.get(f"http://127.0.0.1:{gateway_port}/health")
        assert (health.status_code, health.json()) == (httpx.codes.OK, {"status": "healthy"})
        os.killpg(demo.pid, signal.SIGINT)
        rest, _ = demo.communicate(timeout=60)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGKILL)
    assert "stopped" in rest
    assert "Traceback" not in output + rest
    for port in (mlflow_port, gateway_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def _check_the_printed_prediction(output: str, port: int) -> None:
    """What is printed is what the same request answers."""
    command = re.search(r"curl -X POST (\S+) .*-d '(.*)'\n\s+(\{.*\})", output)
    assert command, output
    url, body, answer = command.groups()
    assert url == f"http://127.0.0.1:{port}/predict"
    again = httpx.post(url, content=body, headers={"Content-Type": "application/json"})
    assert again.json() == json.loads(answer)
    assert 0 < again.json()["prediction"][0] < 1
    assert again.headers["X-Model-Version"] == again.json()["model"]["version"] == "1"


def test_a_taken_port_is_an_error_with_a_fix_and_nothing_is_left_running(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            ["make", "demo"],
            cwd=ROOT,
            env={**os.environ, "MLFLOW_PORT": str(port), "MODELYARD_STATE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode != 0
    assert f"Port {port}" in done.stderr
    assert f"MLFLOW_PORT={port + 1} make demo" in done.stderr
    assert "Traceback" not in done.stderr
