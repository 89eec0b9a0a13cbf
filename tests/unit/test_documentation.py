"""What the documents name is there: files, links, make targets, commands, settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from modelyard.cli.main import app
from modelyard.errors import ExitCode

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "ci/docker/README.md", *(ROOT / "docs").glob("*.md")]
README = DOCUMENTS[0].read_text(encoding="utf-8")


def names(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_link_inside_the_project_leads_somewhere(document: Path):
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (document.parent / target).exists(), target


def test_every_file_of_the_map_is_there():
    (tree,) = re.findall(r"## What is where\n\n```\n(.*?)```", README, re.DOTALL)
    above = [ROOT]  # the folder at each depth
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 4
        words = re.split(r"\s{3,}", line.strip())[0].split("  ")
        for word in words:
            path = above[depth] / word
            assert list(path.parent.glob(path.name)), word
        above[depth + 1 :] = [above[depth] / words[0]]


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_make_target_is_one(document: Path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    text = document.read_text(encoding="utf-8")
    mentioned = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))
    assert mentioned <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_command_and_option_is_one(document: Path):
    commands = get_command(app).commands
    text = document.read_text(encoding="utf-8")
    for name, rest in re.findall(r"(?:`|^)modelyard ([a-z]+)([^`\n]*)", text, re.MULTILINE):
        assert name in commands, name
        known = {word for parameter in commands[name].params for word in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= known | {"--help"}, (name, rest)


def test_every_variable_that_the_readme_names_is_explained():
    explained = (ROOT / ".env.example").read_text(encoding="utf-8")
    for name in re.findall(r"\b((?:SERVING|MLFLOW|GATEWAY|COMPOSE)_[A-Z_]+)\b", README):
        assert name in explained, name


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_exit_code_is_one_of_the_table(document: Path):
    text = document.read_text(encoding="utf-8")
    mentioned = {int(code) for code in re.findall(r"exit code (?:is )?(\d+)", text)}
    assert mentioned <= set(ExitCode)
