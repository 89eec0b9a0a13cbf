"""The locks hold what pyproject.toml asks for, agree with each other, and name no package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from ci.lock import EXPORTS, name_of, requirements

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in EXPORTS}


def pins(text: str) -> dict[str, set[str]]:
    """Package → its versions; one that differs by platform has several."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"(?m)^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)", text):
        found.setdefault(name, set()).add(version)
    return found


def asked(name: str) -> list[str]:
    """What the groups behind a lock ask for."""
    option, group = EXPORTS[name]
    own = [] if option == "--only-group" else PROJECT["project"]["dependencies"]
    return [*own, *requirements(PROJECT, group)]


def test_every_lock_is_made_by_make_lock():
    assert sorted(path.name for path in ROOT.glob("requirements-*.txt")) == sorted(EXPORTS)


@pytest.mark.parametrize("name", EXPORTS)
def test_a_lock_has_every_package_that_is_asked_for_at_the_version_that_is_asked_for(name: str):
    locked = pins(TEXTS[name])
    for requirement in asked(name):
        package = name_of(requirement)
        assert package in locked, f"{name} is stale: it lacks {requirement}; make lock"
        if wanted := re.search(r"==([^\s;]+)", requirement):
            assert wanted[1] in locked[package], f"{name} is stale: {requirement}; make lock"


def test_the_locks_agree_on_the_version_of_every_package_but_torch():
    together: dict[str, set[str]] = {}
    for text in TEXTS.values():
        for package, versions in pins(text).items():
            together.setdefault(package, versions)
            if package != "torch":
                assert together[package] == versions, package


@pytest.mark.parametrize("name", EXPORTS)
def test_a_lock_pins_every_package_with_its_hashes_and_names_no_index(name: str):
    text = TEXTS[name]
    assert not re.findall(r"^-|://", text, re.MULTILINE)
    blocks = re.findall(r"^\w.*?(?=^\w|\Z)", text, re.MULTILINE | re.DOTALL)
    assert all(re.match(r"[\w.-]+(\[[\w,-]+\])?==", block) for block in blocks)
    assert all("--hash=sha256:" in block for block in blocks)


def test_one_torch_has_cuda_and_the_other_has_not():
    torch = {name: pins(text).get("torch", set()) for name, text in TEXTS.items()}
    assert torch["requirements-train.txt"] == {"2.13.0"}
    for name in ("requirements-train-cpu.txt", "requirements-serve-torch.txt"):
        assert torch[name] == {"2.13.0", "2.13.0+cpu"}
    assert torch["requirements-serve.txt"] == torch["requirements-serve-onnx.txt"] == set()
