"""One version, written in the package: its metadata, the command and the images say the same."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from modelyard import __version__
from modelyard.cli.main import app

ROOT = Path(__file__).parents[2]


def test_the_metadata_take_the_version_from_the_package():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "modelyard.__version__"
    }


def test_the_command_prints_the_version():
    printed = CliRunner().invoke(app, ["--version"])
    assert (printed.exit_code, printed.output) == (0, f"modelyard {__version__}\n")


@pytest.mark.parametrize("name", ["mlflow", "train", "serve"])
def test_the_images_are_labelled_with_the_version(name: str):
    lines = (ROOT / f"Dockerfile.{name}").read_text(encoding="utf-8").splitlines()
    assert f"ARG VERSION={__version__}" in lines
    # each final stage has to take the global argument before it can use it
    assert lines.count("ARG VERSION") == lines.count('ARG GIT_COMMIT=""') > 0
