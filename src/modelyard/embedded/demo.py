"""`make demo`: data, training, registry and serving on this machine, without Docker.

MLflow keeps its records in SQLite and its files in a folder, DVC's store is a folder, training
runs on the CPU or on what torch finds. All state lies in `.modelyard/`; delete it to start over.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from modelyard.embedded.mlflow_server import START_TIMEOUT_S, is_up, start_mlflow
from modelyard.embedded.processes import ChildProcesses, StartError, require_free_port
from modelyard.program import Echo
from modelyard.settings import DemoSettings
from modelyard.training.experiment import read_experiment
from modelyard.training.project import find_project

_FOLLOW_TIMEOUT_S = 30.0
_PROBE_TIMEOUT_S = 2.0
_JSON = "application/json"


@dataclass(frozen=True)
class EmbeddedStack:
    """Where the embedded stack keeps its state, and how its programs reach each other."""

    root: Path
    state: Path
    settings: DemoSettings

    @property
    def mlflow_url(self) -> str:
        """Address of the MLflow server."""
        return f"http://127.0.0.1:{self.settings.mlflow_port}"

    @property
    def serving_url(self) -> str:
        """Address of the prediction API."""
        return f"http://127.0.0.1:{self.settings.gateway_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What the containers get from docker-compose.yml, for this machine."""
        return {
            "MLFLOW_TRACKING_URI": self.mlflow_url,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "WORKSPACE": str(self.state / "workspace"),
            "DVC_CACHE_DIR": str(self.state / "dvc-cache"),
            "DVC_REMOTE_URL": str(self.state / "dvc-store"),
            "TRAINING_STATE_DIR": str(self.state / "training"),
            "SERVING_CACHE_DIR": str(self.state / "serving-cache"),
            "SERVING_PREDICTION_LOG_DIR": str(self.state / "predictions"),
            "SERVING_HOST": "127.0.0.1",
            "SERVING_PORT": str(self.settings.gateway_port),
        }


def run_demo(settings: DemoSettings, root: Path, echo: Echo) -> None:
    """Run the main job once, then serve until interrupted.

    Raises:
        ModelyardError: a port is taken, or a step failed; everything started is stopped.
    """
    require_free_port(settings.mlflow_port, "MLFLOW_PORT")
    require_free_port(settings.gateway_port, "GATEWAY_PORT")
    stack = EmbeddedStack(root, root / settings.modelyard_state_dir, settings)
    experiment = read_experiment(root / settings.modelyard_config)
    with ChildProcesses(stack.state / "logs") as processes:
        echo(f"1/4  MLflow on {stack.mlflow_url}")
        records, artifacts = (
            f"sqlite:///{stack.state / 'mlflow.db'}",
            str(stack.state / "artifacts"),
        )
        start_mlflow(processes, settings.mlflow_port, records, artifacts, stack.environment)
        echo("2/4  dataset into the store")
        _run_entrypoint(processes, stack, "dataset")
        echo("3/4  training")
        _run_entrypoint(processes, stack, "train")
        echo(f"4/4  prediction API on {stack.serving_url}")
        processes.start(
            "serving",
            [sys.executable, "-m", "modelyard.serving"],
            {
                **stack.environment,
                "MODEL_URI": f"models:/{experiment.registered_model}@{experiment.alias}",
            },
            lambda: is_up(f"{stack.serving_url}/livez"),
            START_TIMEOUT_S,
        )
        _wait_for_model(stack)
        url = f"{stack.serving_url}/predict"
        body = json.dumps(dict(find_project(experiment.project).contract.example))
        answer = httpx.post(url, content=body, headers={"Content-Type": _JSON})
        if answer.status_code != httpx.codes.OK:
            raise StartError(f"/predict answered {answer.status_code}: {answer.text}")
        echo(f"""
  curl -X POST {url} -H 'Content-Type: {_JSON}' -d '{body}'
  {answer.text.strip()}

  predictions   {stack.serving_url}/docs
  runs, models  {stack.mlflow_url}
  logs, state   {stack.state}

Ctrl-C stops everything.""")
        processes.wait()


def _run_entrypoint(processes: ChildProcesses, stack: EmbeddedStack, job: str) -> None:
    """The training container's own entrypoint, with this machine's settings."""
    command = [str(stack.root / "entrypoint.sh"), "--config", stack.settings.modelyard_config]
    processes.run(job, command, {**stack.environment, "ENTRYPOINT_JOB": job}, stack.root)


def _wait_for_model(stack: EmbeddedStack) -> None:
    deadline = time.monotonic() + _FOLLOW_TIMEOUT_S
    while not is_up(f"{stack.serving_url}/health"):
        if time.monotonic() > deadline:
            answer = httpx.get(f"{stack.serving_url}/health", timeout=_PROBE_TIMEOUT_S)
            raise StartError(f"Serving has no model after {_FOLLOW_TIMEOUT_S:g} s: {answer.text}")
        time.sleep(0.1)
