"""Our id of a folder is git's own, so that an image without git can be told which commit it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from modelyard.source_tree import find_commit, tree_id


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    source = tmp_path / "src"
    (source / "a").mkdir(parents=True)
    (source / "a.py").write_text("x = 1\n")
    (source / "a/b.py").write_text("y = 2\n")
    (source / "a/data.bin").write_bytes(bytes(range(256)))
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    git(tmp_path, "init", "-q")
    commit(tmp_path, "one")
    return tmp_path


def git(root: Path, *words: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    done = subprocess.run(
        ["git", "-C", str(root), *who, *words], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(root: Path, message: str) -> str:
    git(root, "add", "-A")
    git(root, "commit", "-qm", message)
    return git(root, "rev-parse", "HEAD")


def test_the_id_is_gits_own(checkout: Path):
    assert tree_id(checkout / "src") == git(checkout, "rev-parse", "HEAD:src")


def test_what_is_never_committed_changes_nothing(checkout: Path):
    before = tree_id(checkout / "src")
    ignored = ("__pycache__/a.pyc", "a/__pycache__/b.pyc", "x.egg-info/PKG-INFO")
    for name in (*ignored, "only/__pycache__/c.pyc"):
        (checkout / "src" / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / "src" / name).write_text("")
    (checkout / "src/empty").mkdir()
    assert tree_id(checkout / "src") == before


def test_every_change_of_a_file_changes_the_id(checkout: Path):
    before = tree_id(checkout / "src")
    (checkout / "src/a/b.py").write_text("y = 3\n")
    changed = tree_id(checkout / "src")
    (checkout / "src/run.sh").chmod(0o644)
    assert len({before, changed, tree_id(checkout / "src")}) == 3


def test_the_commit_is_found_again_by_the_content(checkout: Path):
    first, tree = git(checkout, "rev-parse", "HEAD"), tree_id(checkout / "src")
    (checkout / "src/a.py").write_text("x = 2\n")
    second = commit(checkout, "two")
    assert find_commit(checkout, tree) == first
    assert find_commit(checkout, tree_id(checkout / "src")) == second
    assert find_commit(checkout, "0" * 40) == ""


def test_no_folder_and_no_checkout_are_no_error(tmp_path: Path):
    assert tree_id(tmp_path / "src") == ""
    assert find_commit(tmp_path, "0" * 40) == ""
