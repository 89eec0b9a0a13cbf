"""Which two source trees are compared, and which slowdowns between them were accepted."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

TRAILER = "Slower"
"""`Slower: ROUTE: REASON`, a trailer of a commit message; the route may be `all`."""


class NoBaseError(Exception):
    """There is no commit to compare with."""


def base_commit(root: Path, wanted: str = "") -> str:
    """The commit to compare the working tree in `root` with.

    `wanted` when given; else where this branch left its upstream; else, on the upstream itself,
    the last commit when `src` has uncommitted changes and the one before it when not.

    Raises:
        NoBaseError: there is none, or not in this clone.
    """
    if wanted:
        return _commit(root, wanted)
    head = _commit(root, "HEAD")
    for upstream in ("@{upstream}", "origin/HEAD", "origin/main"):
        code, left_at = _git(root, "merge-base", "HEAD", upstream)
        if code == 0:
            if left_at != head:
                return left_at
            break
    is_clean = _git(root, "diff", "--quiet", "HEAD", "--", "src")[0] == 0
    return _commit(root, "HEAD^") if is_clean else head


def export_source(root: Path, commit: str, folder: Path) -> Path:
    """Write the `src` of `commit` into `folder`; returns the path to put on PYTHONPATH."""
    archive = subprocess.run(  # noqa: S603
        ["git", "archive", commit, "src"],  # noqa: S607
        cwd=root,
        check=True,
        capture_output=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder / "src"


def accepted_slowdowns(root: Path, base: str) -> Mapping[str, str]:
    """Route → why it may take longer, from the messages of the commits since `base`."""
    _, text = _git(
        root, "log", f"--format=%(trailers:key={TRAILER},valueonly,unfold)", f"{base}..HEAD"
    )
    found = {}
    for line in text.splitlines():
        route, _, reason = line.partition(":")
        if reason.strip():
            found[route.strip()] = reason.strip()
    return found


def _commit(root: Path, name: str) -> str:
    code, commit = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if code != 0:
        raise NoBaseError(
            f"expected the commit {name} in this clone, found none\n"
            "fix: git fetch --deepen=1, or name another one: make bench-instructions BASE=…"
        )
    return commit


def _git(root: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(  # noqa: S603
        ["git", *words],  # noqa: S607
        cwd=root,
        check=False,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout.strip()
