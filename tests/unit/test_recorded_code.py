"""Where in a checkout the code of a version is, and what is handed on of it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from modelyard.errors import ReproductionError
from modelyard.recorded_code import (
    FoundCode,
    RecordedCode,
    fetch_command,
    find_code,
    read_recorded,
    write_archive,
)
from support.repository import Repository, code_tags


@pytest.fixture(params=[".", "models/fraud"], ids=["repository", "folder of a repository"])
def repository(tmp_path: Path, request: pytest.FixtureRequest) -> Repository:
    return Repository(tmp_path / "repository", request.param)


def names_in(found: FoundCode, repository: Repository, tmp_path: Path) -> dict[str, bytes]:
    path = tmp_path / "code.tar"
    with path.open("wb") as file:
        write_archive(found, repository.root, file)
    with tarfile.open(path) as archive:
        files = [member for member in archive if member.isfile()]
        return {member.name: archive.extractfile(member).read() for member in files}


def test_only_names_of_objects_are_taken_from_tags():
    assert read_recorded(code_tags("--upload-pack=x", "f" * 40)) == RecordedCode("", "f" * 40)
    assert read_recorded(code_tags("unknown", "unknown")) == RecordedCode("", "")
    assert read_recorded({}) == RecordedCode("", "")


def test_the_same_content_comes_before_the_commit_and_any_commit_before_none(
    repository: Repository,
):
    first, second = repository.first, repository.second
    assert find_code(RecordedCode(first, repository.first_tree), repository.root) == FoundCode(
        first
    )
    assert find_code(RecordedCode("", repository.first_tree), repository.root) == FoundCode(first)
    assert find_code(RecordedCode("a" * 40, repository.first_tree), repository.root) == FoundCode(
        first
    )
    assert find_code(RecordedCode(first, repository.second_tree), repository.root) == FoundCode()
    assert find_code(RecordedCode(second, "f" * 40), repository.root) == FoundCode(second)
    assert find_code(RecordedCode("a" * 40, "f" * 40), repository.root) is None


def test_the_recorded_commit_comes_before_a_newer_one_with_the_same_content(
    repository: Repository,
):
    newer, tree = repository.commit("x = 1\n")
    repository.commit("x = 4\n")
    first = repository.first
    assert find_code(RecordedCode(first, tree), repository.root) == FoundCode(first)
    assert find_code(RecordedCode("", tree), repository.root) == FoundCode(newer)


def test_a_commit_of_another_branch_is_found_by_its_content(repository: Repository):
    """Who still has changes that were never committed, commits them there."""
    repository.git("checkout", "-qb", "late", repository.first)
    late, tree = repository.commit("x = 3\n")
    repository.git("checkout", "-q", repository.second)
    assert find_code(RecordedCode(repository.first, tree), repository.root) == FoundCode(late)


def test_a_commit_is_handed_on_as_an_image_would_hold_it(repository: Repository, tmp_path: Path):
    (repository.root / "src/a.py").write_text("x = 9\n")
    assert names_in(FoundCode(repository.first), repository, tmp_path) == {
        "src/a.py": b"x = 1\n",
        "configs/train.yaml": b"promote: auto\n",
        "entrypoint.sh": b"#!/bin/sh\n",
    }


def test_files_that_are_no_commit_are_handed_on_without_what_python_leaves(
    repository: Repository, tmp_path: Path
):
    (repository.root / "src/__pycache__").mkdir()
    (repository.root / "src/__pycache__/a.pyc").write_bytes(b"")
    (repository.root / "src/a.py").write_text("x = 9\n")
    (repository.root / ".env").write_text("SECRET=1\n")
    assert names_in(FoundCode(), repository, tmp_path) == {
        "src/a.py": b"x = 9\n",
        "configs/train.yaml": b"promote: auto\n",
        "entrypoint.sh": b"#!/bin/sh\n",
    }


def test_a_clone_says_what_brings_it_the_commits_it_lacks(repository: Repository, tmp_path: Path):
    assert fetch_command(repository.folder) == "git fetch --all --tags"
    shallow = tmp_path / "shallow"
    repository.git("clone", "-q", "--depth=1", repository.folder.as_uri(), str(shallow))
    assert find_code(RecordedCode(repository.first, ""), shallow) is None
    assert fetch_command(shallow) == "git fetch --unshallow"


def test_what_git_refuses_is_an_error_with_a_fix(repository: Repository, tmp_path: Path):
    with pytest.raises(ReproductionError, match="git archive aaaa") as caught:
        names_in(FoundCode("a" * 40), repository, tmp_path)
    assert "git fetch" in caught.value.fix
