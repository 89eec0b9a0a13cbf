"""A mistake in a configuration is told before what takes seconds is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "mlflow", "sklearn", "polars", "pandera", "optuna", "matplotlib", "skops")
PROBE = f"""
import json, sys
from modelyard.cli.main import main
try:
    main()
except SystemExit as end:
    found = [name for name in {HEAVY} if name in sys.modules]
    print(json.dumps([end.code, found]))
"""


def told(*arguments: str) -> tuple[int, list[str], str]:
    """Exit status, the heavy packages that were imported, and what was said."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    code, found = json.loads(done.stdout.splitlines()[-1])
    return code, found, done.stderr


@pytest.mark.parametrize("command", [("train",), ("tune", "--trials", "3"), ("dataset",)])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--config", "missing.yaml"), "There is no file missing.yaml"),
        (("--set", "sead=3"), 'Did you mean "seed"?'),
    ],
)
def test_a_mistake_in_the_file_needs_no_heavy_package(
    command: tuple[str, ...], arguments: tuple[str, ...], said: str
):
    code, imported, errors = told(*command, *arguments)
    assert (code, imported) == (2, [])
    assert said in errors


def test_a_mistake_in_the_projects_section_needs_the_project_and_no_mlflow():
    code, imported, errors = told("train", "--set", "fit.epoch=3")
    assert code == 2
    assert 'Did you mean "epochs"?' in errors
    assert not {"mlflow", "pandera", "optuna", "matplotlib", "skops"} & set(imported)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((), "transactions.parquet"),
        (("--set", "data=mine.parquet", "--trials", "4", "--resume"), "mine.parquet"),
        (("--set", "data=s3://b/p", "--set", "stream={}", "--processes", "2"), "s3://b/p"),
    ],
)
def test_the_entrypoint_is_told_which_dataset_a_command_needs(
    arguments: tuple[str, ...], name: str
):
    done = subprocess.run(
        [sys.executable, "-m", "modelyard.cli.main", "dataset-name", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{name}\n"
