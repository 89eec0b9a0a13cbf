"""The code that trained a version, found in a checkout, and written as a tar archive.

Standard library only, and any Python from 3.8: `make reproduce` runs it on the host, which has git.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from modelyard.errors import ReproductionError
from modelyard.source_tree import FOLDER, find_commit, git, is_left_out, tree_id

NEEDED = (FOLDER, "configs", "entrypoint.sh", ".dvc/config")
"""What a training image holds of a commit; the data come by the md5 that is on record."""

_HASH = re.compile(r"[0-9a-f]{7,64}")
_GIT_TIMEOUT_S = 60


@dataclass(frozen=True)
class RecordedCode:
    """What the tags of a version say about its code; empty where they say nothing."""

    commit: str
    tree: str


@dataclass(frozen=True)
class FoundCode:
    """Where the code is: in a commit, or, without one, in the files as they are here."""

    commit: str = ""


def read_recorded(tags: Mapping[str, str]) -> RecordedCode:
    """Commit and tree where they are hashes: anyone can write a tag, and git takes options."""
    commit, tree = (tags.get(key, "") for key in ("git.commit", "git.tree"))
    return RecordedCode(*(name if _HASH.fullmatch(name) else "" for name in (commit, tree)))


def find_code(recorded: RecordedCode, root: Path) -> FoundCode | None:
    """Where in the checkout `root` the code is: the same content first, else the commit as it is.

    A commit with other content is what is left of a tree with changes that were never committed.
    """
    if recorded.tree and tree_id(root / FOLDER) == recorded.tree:
        return FoundCode()
    here = bool(recorded.commit) and git(root, "cat-file", "-t", recorded.commit) == "commit"
    same = git(root, "rev-parse", f"{recorded.commit}:./{FOLDER}") if here else ""
    if recorded.tree and same != recorded.tree and (other := find_commit(root, recorded.tree)):
        return FoundCode(other)
    return FoundCode(recorded.commit) if here else None


def write_archive(found: FoundCode, root: Path, file: IO[bytes]) -> None:
    """Write the code into `file`, as tar; neither the checkout nor git's index is touched.

    Raises:
        ReproductionError: git cannot.
    """
    if not found.commit:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name in NEEDED:
                if (root / name).exists():
                    archive.add(str(root / name), name, filter=_committed)
        return
    names = git(root, "ls-tree", "--name-only", found.commit, "--", *NEEDED).splitlines()
    command = ["archive", "--format=tar", found.commit, "--", *names]
    try:
        done = subprocess.run(  # noqa: S603 - our own words and a hash, no shell
            [shutil.which("git") or "git", "-C", str(root), *command],
            stdout=file,
            stderr=subprocess.PIPE,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
        if done.returncode == 0:
            return
        failure = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        failure = f"it did not end within {_GIT_TIMEOUT_S} s"
    raise ReproductionError(
        f"git archive {found.commit} failed: {failure}",
        fix=f"git fsck checks the clone; {fetch_command(root)} fetches what it lacks.",
    )


def fetch_command(root: Path) -> str:
    """What brings commits that this clone lacks."""
    shallow = git(root, "rev-parse", "--is-shallow-repository") == "true"
    return "git fetch --unshallow" if shallow else "git fetch --all --tags"


def _committed(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if is_left_out(member.name) else member
