"""A real MLflow server on the client's core, that yields to everything else there.

Our server follows an alias in it, as it does in the stack.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import mlflow
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException

from benchmarks.serving.network import free_port
from benchmarks.serving.places import CLIENT_CORE, STATE
from benchmarks.serving.servers import Program, RunningServer
from modelyard.registry.manifest import DIGEST_TAG, sha256_of

ALIAS = "champion"
_EXPERIMENT = "benchmarks"


@dataclass(frozen=True)
class Registry:
    """A running one."""

    url: str

    def publish(self, name: str, folder: Path, *, promote: bool = True) -> str:
        """Register the package in `folder` as the next version of `name`."""
        client = mlflow.MlflowClient(self.url)
        found = client.get_experiment_by_name(_EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(_EXPERIMENT)
        run_id = client.create_run(experiment).info.run_id
        model_id = client.create_logged_model(experiment, name=name, source_run_id=run_id).model_id
        client.log_model_artifacts(model_id, str(folder))
        client.finalize_logged_model(model_id, LoggedModelStatus.READY)
        client.set_terminated(run_id)
        with suppress(MlflowException):  # not the first version
            client.create_registered_model(name)
        tags = {DIGEST_TAG: sha256_of(folder / "manifest.json")}
        source = f"models:/{model_id}"
        version = client.create_model_version(
            name, source=source, run_id=run_id, model_id=model_id, tags=tags
        )
        if promote:
            self.promote(name, str(version.version))
        return str(version.version)

    def promote(self, name: str, version: str) -> None:
        """Let the alias point to `version`."""
        mlflow.MlflowClient(self.url).set_registered_model_alias(name, ALIAS, version)


@contextmanager
def running_registry() -> Iterator[Registry]:
    """An empty one, on SQLite and a folder."""
    folder = STATE / f"registry-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host=127.0.0.1", f"--port={port}"]
    command += ["--workers=1", f"--backend-store-uri=sqlite:///{folder / 'mlflow.db'}"]
    command += ["--serve-artifacts", f"--artifacts-destination={folder / 'artifacts'}"]
    quiet = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }
    os.environ.update(quiet)
    server = RunningServer(Program("registry", command, quiet), core=CLIENT_CORE)
    probe = f"{url}/api/2.0/mlflow/experiments/search?max_results=1"
    try:
        server.wait_until(lambda: _answers(probe))
        server.yield_to_others()
        yield Registry(url)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
