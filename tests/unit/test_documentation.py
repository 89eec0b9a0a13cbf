"""What the documents name is there: files, links, make targets, commands, settings."""

from __future__ import annotations

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from typer.main import get_command

from modelyard.cli.main import app
from modelyard.errors import ExitCode
from modelyard.settings import (
    CommandSettings,
    ServingSettings,
    TrafficSettings,
    TrainingSettings,
    variable_of,
)

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src/modelyard"
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / ".github").glob("*.md")),
    ROOT / "benchmarks/README.md",
    ROOT / "ci/docker/README.md",
]
README = (ROOT / "README.md").read_text(encoding="utf-8")


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


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_variable_is_explained(document: Path):
    explained = set(re.findall(r"[A-Z_]+", (ROOT / ".env.example").read_text(encoding="utf-8")))
    kinds = (ServingSettings, TrafficSettings, TrainingSettings, CommandSettings)
    explained |= {variable_of(kind, field) for kind in kinds for field in kind.model_fields}
    text = document.read_text(encoding="utf-8")
    mentioned = re.findall(r"\b((?:SERVING|MLFLOW|GATEWAY|COMPOSE)_[A-Z_]+[A-Z])\b", text)
    assert set(mentioned) <= explained


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_path_in_code_is_there(document: Path):
    """A path begins at the top of the project or of the package; or the document shows its text.

    What tests leave in `build/` is there after some of them only.
    """
    text = document.read_text(encoding="utf-8")
    shown = set(re.findall(r"^`([\w./-]+)`$", text, re.MULTILINE))
    for path in set(re.findall(r"`([\w.-]+(?:/[\w.-]*)+)`", text)) - shown:
        tops = [top for top in (ROOT, PACKAGE) if (top / path.split("/")[0]).is_dir()]
        is_made = path.startswith("build/")
        assert is_made or not tops or any((top / path).exists() for top in tops), path


def test_the_floors_are_those_of_the_import_rules():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    (drawn,) = re.findall(r"<!-- floors -->\n```\n(.*?)```", text, re.DOTALL)
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (rule,) = (
        contract["layers"]
        for contract in pyproject["tool"]["importlinter"]["contracts"]
        if contract["name"] == "Imports go downward"
    )
    floors = [
        {name.strip().removeprefix("modelyard.") for name in floor.split(":")} for floor in rule
    ]
    assert [set(line.split()) for line in drawn.splitlines()] == floors


def test_every_module_that_moved_is_where_the_changelog_says():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    moves = re.findall(r"\| `(modelyard[\w.]+)` \| `(modelyard[\w.]+)` \|", text)
    assert moves
    for before, now in moves:
        module, _, name = now.rpartition(".")
        if name[0].isupper():
            assert hasattr(import_module(module), name), now
        else:
            assert import_module(now), now
        file = PACKAGE / f"{before.removeprefix('modelyard.').replace('.', '/')}.py"
        assert not file.exists(), before


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_every_exit_code_is_one_of_the_table(document: Path):
    text = document.read_text(encoding="utf-8")
    mentioned = {int(code) for code in re.findall(r"exit code (?:is )?(\d+)", text)}
    assert mentioned <= set(ExitCode)
