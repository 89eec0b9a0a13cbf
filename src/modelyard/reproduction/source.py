"""The code of a version in a folder of its own: from git, or from here if it is the same."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from modelyard.config import dump_yaml
from modelyard.errors import ReproductionError
from modelyard.provenance import UNKNOWN
from modelyard.source_tree import FOLDER, find_commit, git, tree_id
from modelyard.training.experiment import is_in_store

_NEEDED = (FOLDER, "entrypoint.sh", ".dvc/config", "data")
_GIT_TIMEOUT_S = 60
_NAMED_FILES = 5
_HASH = re.compile(r"[0-9a-f]{7,64}")


@dataclass(frozen=True)
class Source:
    """Where the code was taken from; `recorded` and `now` where it is not the recorded one."""

    commit: str
    said: str
    recorded: str = ""
    now: str = ""


def lay_out(tags: Mapping[str, str], root: Path, image_commit: str, folder: Path) -> Source:
    """Put the code that trained a version, and the pointer to its data file, into `folder`.

    Args:
        tags: the version's, with commit, tree, and data.
        root: the checkout or the image's folder.
        image_commit: commit that the image was built from, where this is one.

    Raises:
        ReproductionError: the code is not here, and no checkout has its commit.
    """
    source = _lay_out_code(tags, root, image_commit, folder)
    data = folder / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    if is_in_store(tags["data.path"]):
        return source  # it has no pointer
    name = PurePath(tags["data.path"]).name
    out = {"md5": tags["data.md5"], "size": int(tags["data.size_bytes"]), "hash": "md5"}
    pointer = dump_yaml({"outs": [{**out, "path": name}]})
    (data / f"{name}.dvc").write_text(pointer, encoding="utf-8")
    return source


def _lay_out_code(tags: Mapping[str, str], root: Path, image_commit: str, folder: Path) -> Source:
    commit, tree = tags.get("git.commit", UNKNOWN), tags.get("git.tree", UNKNOWN)
    if not _HASH.fullmatch(commit):
        commit = UNKNOWN  # a tag that anybody may write must not become an option of git
    if tree_id(root / FOLDER) == tree:
        _copy(root, folder)
        return Source(commit, f"as it is here: src/ is tree {tree[:12]}, as recorded")
    known = commit != UNKNOWN and bool(git(root, "cat-file", "-t", commit))
    if known and git(root, "rev-parse", f"{commit}:{FOLDER}") == tree:
        _archive(root, commit, folder)
        return Source(commit, f"commit {commit[:12]}, whose src/ is tree {tree[:12]}, as recorded")
    if same := find_commit(root, tree):
        _archive(root, same, folder)
        return Source(same, f"commit {same[:12]}, whose src/ is tree {tree[:12]}, as recorded")
    if not known:
        raise _unavailable(commit, tags, image_commit)
    _archive(root, commit, folder)
    if tags.get("git.dirty") == "true":
        changed = tags.get("git.changed", "files not on record").splitlines()
        more = f" and {len(changed) - _NAMED_FILES} more" if len(changed) > _NAMED_FILES else ""
        files = ", ".join(changed[:_NAMED_FILES]) + more
        recorded = f"a dirty tree, with changes that were never committed ({files})"
        said = f"commit {commit[:12]} without them"
        return Source(commit, f"commit {commit[:12]}", recorded, said)
    if tree != UNKNOWN:
        here = f"commit {commit[:12]}, with another src/"
        return Source(commit, here, f"src/ as tree {tree[:12]}", here)
    return Source(commit, f"commit {commit[:12]}")


def _unavailable(commit: str, tags: Mapping[str, str], image_commit: str) -> ReproductionError:
    here = (
        f"this image was built from {image_commit}" if image_commit else "no checkout here has it"
    )
    if commit == UNKNOWN and "git.tree" not in tags:
        return ReproductionError(
            "Which code trained it is not on record, neither a commit nor a tree.",
            fix="Only a version that `modelyard train` made can be rebuilt.",
        )
    if commit == UNKNOWN:
        wanted = f"with src/ as tree {tags['git.tree'][:12]} (no commit is on record)"
        fix = "Run it in a checkout of the repository that has the commit: modelyard reproduce …"
    else:
        wanted = f"of commit {commit}"
        fix = (
            f"git fetch, then again; or, in an image: git checkout {commit[:12]} && docker compose "
            "--profile train build training, then again."
        )
    return ReproductionError(f"The code {wanted} is not available: {here}.", fix=fix)


def _copy(root: Path, folder: Path) -> None:
    for name in _NEEDED:
        path, target = root / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            wanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.parquet")
            shutil.copytree(path, target, ignore=wanted, symlinks=True)
        elif path.is_file():
            shutil.copy2(path, target)


def _archive(root: Path, commit: str, folder: Path) -> None:
    """`commit` as git has it; the checkout itself is not touched."""
    program = shutil.which("git") or "git"
    done = subprocess.run(  # noqa: S603 - our own words and a hash, no shell
        [program, "-C", str(root), "archive", "--format=tar", commit],
        capture_output=True,
        timeout=_GIT_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise ReproductionError(
            f"git archive {commit} failed: {done.stderr.decode(errors='replace').strip()}"
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
