"""A small real repository, with two commits of a project; the second is checked out."""

from __future__ import annotations

import subprocess
from pathlib import Path

from modelyard.source_tree import tree_id


class Repository:
    """In `folder`; the project is in `project`, the folder itself or one in it."""

    def __init__(self, folder: Path, project: str = ".") -> None:
        self.folder = folder
        self.root = folder / project
        (self.root / "src").mkdir(parents=True)
        (self.root / "configs").mkdir()
        (self.root / "configs/train.yaml").write_text("promote: auto\n")
        (self.root / "data").mkdir()
        (self.root / "data/t.parquet.dvc").write_text("outs: []\n")
        (self.root / "entrypoint.sh").write_text("#!/bin/sh\n")
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
        command = ["git", "-C", str(self.folder), *who, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def code_tags(commit: str, tree: str = "", **more: str) -> dict[str, str]:
    """What a version says of its code."""
    return {"git.commit": commit, **({"git.tree": tree} if tree else {}), **more}
