"""Where the code of an old version is taken from: here, its commit, or a commit with the same."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from modelyard.errors import ReproductionError
from modelyard.provenance import read_pointer
from modelyard.reproduction.source import lay_out
from modelyard.source_tree import tree_id

DATA = {"data.path": "t.parquet", "data.md5": "5" * 32, "data.size_bytes": "7"}


class Repository:
    """A small repository with two commits; the second is checked out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "src").mkdir(parents=True)
        (root / "data").mkdir()
        (root / "data/t.parquet.dvc").write_text("outs: []\n")
        (root / "entrypoint.sh").write_text("#!/bin/sh\n")
        self.git("init", "-q")
        self.first, self.first_tree = self.commit("x = 1\n")
        self.second, self.second_tree = self.commit("x = 2\n")

    def commit(self, text: str) -> tuple[str, str]:
        (self.root / "src/a.py").write_text(text)
        self.git("add", "-A")
        self.git("commit", "-qm", text)
        return self.git("rev-parse", "HEAD"), tree_id(self.root / "src")

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
        command = ["git", "-C", str(self.root), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    return tmp_path / "code"


def tags(commit: str, tree: str = "", **more: str) -> dict[str, str]:
    return {**DATA, "git.commit": commit, **({"git.tree": tree} if tree else {}), **more}


def test_code_that_is_here_as_recorded_is_copied_without_git(repository: Repository, folder: Path):
    source = lay_out(tags("unknown", repository.second_tree), repository.root, "", folder)
    assert (folder / "src/a.py").read_text() == "x = 2\n"
    assert (folder / "entrypoint.sh").is_file()
    assert source.recorded == ""
    pointer = read_pointer(folder / "data", "t.parquet")
    assert (pointer.md5, pointer.size_bytes) == ("5" * 32, 7)


def test_an_older_commit_is_taken_from_git_and_the_checkout_is_left_alone(
    repository: Repository, folder: Path
):
    source = lay_out(tags(repository.first, repository.first_tree), repository.root, "", folder)
    assert (folder / "src/a.py").read_text() == "x = 1\n"
    assert (repository.root / "src/a.py").read_text() == "x = 2\n"
    assert (source.commit, source.recorded) == (repository.first, "")


def test_without_a_commit_the_one_with_the_same_content_is_found(
    repository: Repository, folder: Path
):
    source = lay_out(tags("unknown", repository.first_tree), repository.root, "", folder)
    assert source.commit == repository.first
    assert (folder / "src/a.py").read_text() == "x = 1\n"


def test_a_dirty_tree_that_is_gone_is_a_difference_with_its_files(
    repository: Repository, folder: Path
):
    changed = {"git.dirty": "true", "git.changed": "\n".join(f"src/{i}.py" for i in range(9))}
    source = lay_out(tags(repository.first, "f" * 40, **changed), repository.root, "", folder)
    assert "never committed (src/0.py, " in source.recorded
    assert "and 4 more" in source.recorded


def test_a_dirty_tree_that_is_still_here_is_no_difference(repository: Repository, folder: Path):
    (repository.root / "src/a.py").write_text("x = 3\n")
    tree = tree_id(repository.root / "src")
    source = lay_out(
        tags(repository.second, tree, **{"git.dirty": "true"}), repository.root, "", folder
    )
    assert source.recorded == ""
    assert (folder / "src/a.py").read_text() == "x = 3\n"


@pytest.mark.parametrize(
    ("commit", "tree", "said"),
    [
        ("a" * 40, "f" * 40, "The code of commit aaaa"),
        ("unknown", "f" * 40, "no commit is on record"),
        ("unknown", "", "neither a commit nor a tree"),
    ],
)
def test_code_that_is_nowhere_is_said_with_a_fix(
    repository: Repository, folder: Path, commit: str, tree: str, said: str
):
    with pytest.raises(ReproductionError, match=said) as caught:
        lay_out(tags(commit, tree), repository.root, "", folder)
    assert caught.value.fix


def test_an_image_says_what_it_was_built_from(tmp_path: Path, folder: Path):
    with pytest.raises(ReproductionError, match="this image was built from bbbb"):
        lay_out(tags("a" * 40, "f" * 40), tmp_path, "b" * 40, folder)
