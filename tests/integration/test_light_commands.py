"""A mistake in a configuration is told before what takes seconds is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "mlflow", "sklearn", "polars", "optuna", "matplotlib", "skops")
PROBE = f"""
import contextlib, io, json, sys
from modelyard.cli.main import main
for arguments in json.loads(sys.argv[1]):
    sys.argv[1:] = arguments
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    found = [name for name in {HEAVY} if name in sys.modules]
    print(json.dumps([code, found, out.getvalue(), err.getvalue()]))
"""
COMMANDS = (("train",), ("tune", "--trials", "3"), ("dataset",))
MISTAKES = (
    (("--config", "missing.yaml"), "There is no file missing.yaml"),
    (("--set", "sead=3"), 'Did you mean "seed"?'),
)
DATASETS = (
    ((), "transactions.parquet"),
    (("--job", "tune", "--trials", "4"), "transactions.parquet"),
    (("--set", "data=mine.parquet", "--trials", "4", "--resume"), "mine.parquet"),
    (("--set", "data=s3://b/p", "--set", "stream={}", "--processes", "2"), "s3://b/p"),
)
Told = tuple[int, list[str], str, str]


def told(*commands: tuple[str, ...], cwd: Path = ROOT) -> list[Told]:
    """Of each: exit status, the heavy packages imported by then, its output, its errors.

    All in one process, one after the other: most of the time of one is Python's start.
    """
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(commands)],
        cwd=cwd, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def light() -> dict[tuple[str, ...], Told]:
    """All that needs no heavy package."""
    commands = [command + arguments for command in COMMANDS for arguments, _ in MISTAKES]
    commands += [("dataset-name", *arguments) for arguments, _ in DATASETS]
    return dict(zip(commands, told(*commands), strict=True))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("arguments", "said"), MISTAKES)
def test_a_mistake_in_the_file_needs_no_heavy_package(
    light: dict[tuple[str, ...], Told],
    command: tuple[str, ...], arguments: tuple[str, ...], said: str,
):  # fmt: skip
    code, imported, _, errors = light[command + arguments]
    assert (code, imported) == (2, [])
    assert said in errors


def test_a_mistake_in_the_projects_section_needs_the_project_and_no_mlflow():
    ((code, imported, _, errors),) = told(("train", "--set", "fit.epoch=3"))
    assert code == 2
    assert 'Did you mean "epochs"?' in errors
    assert not {"mlflow", "optuna", "matplotlib", "skops"} & set(imported)


@pytest.mark.parametrize(("arguments", "name"), DATASETS)
def test_the_entrypoint_is_told_which_dataset_a_command_needs(
    light: dict[tuple[str, ...], Told], arguments: tuple[str, ...], name: str
):
    code, _, output, _ = light["dataset-name", *arguments]
    assert (code, output) == (0, f"{name}\n")


def test_a_search_reads_its_own_configuration_unless_another_is_named(tmp_path: Path):
    """`dataset-name` tells which file a job reads, without the time that the job takes."""
    (tmp_path / "configs").mkdir()
    common = "project: p\nexperiment: e\nregistered_model: m\n"
    for name in ("train", "tune", "other"):
        (tmp_path / f"configs/{name}.yaml").write_text(f"{common}data: {name}.parquet\n")
    answers = told(
        ("dataset-name", "--job", "train"),
        ("dataset-name", "--job", "tune"),
        ("dataset-name", "--job", "tune", "--config", "configs/other.yaml"),
        cwd=tmp_path,
    )
    read = [(code, output) for code, _, output, _ in answers]
    assert read == [(0, "train.parquet\n"), (0, "tune.parquet\n"), (0, "other.parquet\n")]
