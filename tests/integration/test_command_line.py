"""Errors end at the command line as a sentence and an exit code, never as a traceback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLOSED = "http://127.0.0.1:9"  # the discard port: nothing listens there


def modelyard(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["modelyard", *words],
        cwd=ROOT,
        env={**os.environ, "MLFLOW_TRACKING_URI": CLOSED, "MODEL_NAME": "m", **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [("versions",), ("status",), ("promote", "1"), ("rollback", "--why", "x"), ("history",)],
)
def test_a_registry_that_is_not_there_is_exit_code_6_with_a_fix(words: tuple[str, ...]):
    done = modelyard(*words)
    assert done.returncode == 6
    assert f"{CLOSED} does not answer" in done.stderr
    assert "fix: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        (("rollback",), {}, "A rollback needs a reason"),
        (("versions",), {"MLFLOW_TRACKING_URI": "sqlite:///x.db"}, "MLFLOW_TRACKING_URI"),
        (("versions",), {"REGISTRY_TIMEOUT_S": "soon"}, "REGISTRY_TIMEOUT_S"),
        (("train", "--config", "configs/trian.yaml"), {}, "train.yaml"),
        (("train", "--set", "fit.epoch=1"), {}, 'Did you mean "epochs"?'),
    ],
)
def test_a_users_mistake_is_exit_code_2(
    words: tuple[str, ...], settings: dict[str, str], said: str
):
    done = modelyard(*words, **settings)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_lists_every_command():
    done = modelyard("--help")
    commands = "train dataset versions status promote rollback history trace reproduce demo doctor"
    assert done.returncode == 0
    assert all(command in done.stdout for command in commands.split())
