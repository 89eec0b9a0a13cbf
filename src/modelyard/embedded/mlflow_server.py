"""An MLflow server as a child process, with the settings that the stack's own has."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import httpx

from modelyard.embedded.processes import ChildProcesses

START_TIMEOUT_S = 120.0
_PROBE_TIMEOUT_S = 2.0
_SETTINGS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def start_mlflow(
    processes: ChildProcesses,
    port: int,
    records: str,
    artifacts: str,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Start MLflow on `port` of 127.0.0.1 and wait until it reaches its database; its address.

    Args:
        records: URI of the database.
        artifacts: folder or s3:// address behind the server's artifact proxy.
        environment: what the server needs besides, keys of the store for example.

    Raises:
        StartError: it did not come up.
    """
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}"]
    command += ["--workers=1", f"--backend-store-uri={records}"]
    command += ["--serve-artifacts", f"--artifacts-destination={artifacts}"]
    url = f"http://127.0.0.1:{port}"
    probe = f"{url}/api/2.0/mlflow/experiments/search?max_results=1"
    settings = {**_SETTINGS, **(environment or {})}
    processes.start("mlflow", command, settings, lambda: is_up(probe), START_TIMEOUT_S)
    return url


def is_up(url: str) -> bool:
    """Whether `url` answers 200."""
    try:
        return httpx.get(url, timeout=_PROBE_TIMEOUT_S).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
