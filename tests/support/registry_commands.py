"""The registry commands as a user runs them: processes, with an environment of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping

from support.network import free_port
from support.servers import ROOT

COMMAND = ["modelyard"]
Run = Callable[..., subprocess.CompletedProcess[str]]


def environment(mlflow_url: str, model: str) -> dict[str, str]:
    """Of a command that means `model`; no prediction server is there."""
    nobody = f"http://127.0.0.1:{free_port()}"
    own = {"MLFLOW_TRACKING_URI": mlflow_url, "MODEL_NAME": model, "SERVING_URL": nobody}
    return {**os.environ, **own, "MODELYARD_USER": "ann", "TERM": "xterm-256color"}


def commands_for(mlflow_url: str, model: str) -> Run:
    """`run("promote", "1", SETTING="…")`: the command's answer, which is never a traceback."""

    def run(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return _run([*COMMAND, *words], environment(mlflow_url, model) | settings)

    return run


def make_for(mlflow_url: str, model: str) -> Run:
    """`run("rollback", "WHY=…")`: the same by the Makefile, without the container around it."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["make", "--no-print-directory", *words, f"IN_TRAINING={' '.join(COMMAND)}"]
        return _run(command, environment(mlflow_url, model))

    return run


def _run(words: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done
