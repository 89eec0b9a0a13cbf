"""What `make bench-instructions` compares with, and what it refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from benchmarks.instructions.comparison import Comparison
from benchmarks.instructions.counted_server import CountError, StartError
from benchmarks.instructions.trees import (
    NoBaseError,
    accepted_slowdowns,
    base_commit,
    export_source,
)

AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@example.org")


class Clone:
    """A repository of which a test knows every commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "src").mkdir(parents=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        command = ["git", *AUTHOR, *words]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, content: str, message: str = "Change it") -> str:
        (self.folder / "src" / "code.py").write_text(content)
        self.git("add", ".")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_a_clean_tree_is_compared_with_the_commit_before(clone: Clone):
    first = clone.commit("1")
    clone.commit("2")
    assert base_commit(clone.folder) == first


def test_uncommitted_changes_are_compared_with_the_last_commit(clone: Clone):
    clone.commit("1")
    last = clone.commit("2")
    (clone.folder / "src" / "code.py").write_text("3")
    assert base_commit(clone.folder) == last


def test_a_branch_is_compared_with_where_it_left_its_upstream(clone: Clone, tmp_path: Path):
    clone.commit("1")
    clone.git("clone", "-q", ".", str(tmp_path / "upstream"))
    clone.git("remote", "add", "origin", str(tmp_path / "upstream"))
    clone.git("fetch", "-q", "origin")
    left_at = clone.git("rev-parse", "HEAD")
    clone.commit("2")
    clone.commit("3")
    assert base_commit(clone.folder) == left_at


def test_a_commit_of_ones_own_choice_is_taken_and_its_sources_are_written(
    clone: Clone, tmp_path: Path
):
    first = clone.commit("1")
    clone.commit("2")
    clone.commit("3")
    assert base_commit(clone.folder, "HEAD~2") == first
    source = export_source(clone.folder, first, tmp_path / "export")
    assert (source / "code.py").read_text() == "1"


@pytest.mark.parametrize("wanted", ["", "v9"])
def test_a_clone_without_the_commit_says_how_to_get_it(clone: Clone, wanted: str):
    clone.commit("1")
    with pytest.raises(NoBaseError, match="fix: git fetch --deepen=1"):
        base_commit(clone.folder, wanted)


def test_a_slowdown_is_accepted_with_a_reason_in_a_commit_since_the_base(clone: Clone):
    first = clone.commit("1", "Begin\n\nSlower: old: not since the base")
    clone.commit("2", "Check more\n\nSlower: v2-json: shapes are\n  checked now")
    clone.commit("3", "Check all\n\nSlower: predict-row: two: three\nSlower: no-reason:")
    assert accepted_slowdowns(clone.folder, first) == {
        "v2-json": "shapes are checked now",
        "predict-row": "two: three",
    }


@pytest.mark.parametrize(
    ("before", "now", "reasons", "fails", "said"),
    [
        (100_000.0, 102_900.0, {}, False, "100,000     102,900    +2.9%"),
        (100_000.0, 103_100.0, {}, True, "+3.1%  too much"),
        (100_000.0, 50_000.0, {}, False, "-50.0%"),
        (100_000.0, 200_000.0, {"a": "why"}, False, "+100.0%  accepted: why"),
        (100_000.0, 200_000.0, {"all": "why"}, False, "+100.0%  accepted: why"),
        (100_000.0, 200_000.0, {"b": "why"}, True, "+100.0%  too much"),
        (CountError("found 404"), 100_000.0, {}, False, "100,000      new: found 404"),
        (StartError("it ended"), 100_000.0, {}, True, "not compared: it ended"),
        (StartError("it ended"), 100_000.0, {"all": "why"}, False, "not compared: it ended"),
        (100_000.0, CountError("found 500"), {}, True, "found 500"),
        (100_000.0, CountError("found 500"), {"a": "why"}, True, "found 500"),
    ],
)
def test_a_route_may_take_three_percent_more_or_has_a_reason(before, now, reasons, fails, said):
    comparison = Comparison("a", before, now, reasons)
    assert comparison.is_failure is fails
    assert said in comparison.line()
