"""The code of a version in a folder of its own: as it is here, handed over, or from git."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path, PurePath
from typing import IO

from modelyard.config import dump_yaml
from modelyard.errors import ReproductionError
from modelyard.provenance import UNKNOWN
from modelyard.recorded_code import (
    RecordedCode,
    fetch_command,
    find_code,
    read_recorded,
    write_archive,
)
from modelyard.source_tree import FOLDER, tree_id
from modelyard.training.experiment import is_in_store

ONLY_TRAINED = "Only a version that `modelyard train` made can be rebuilt."
_NAMED_FILES = 5
_SHORT = 12
_COMMIT_HEADER = "comment"  # where `git archive` names the commit


@dataclass(frozen=True)
class CodeSource:
    """Where the code was taken from; `recorded` and `now` where it is not the recorded one."""

    commit: str
    where: str
    recorded: str = ""
    now: str = ""


def lay_out(
    tags: Mapping[str, str],
    root: Path,
    image_commit: str,
    folder: Path,
    handed: IO[bytes] | None = None,
) -> CodeSource:
    """Put the code that trained a version, and the pointer to its data file, into `folder`.

    Args:
        tags: the version's, with commit, tree, and data.
        root: the checkout or the image's folder.
        image_commit: commit that the image was built from, where this is one.
        handed: a tar archive with the code, as `git archive` writes it, instead of git here.

    Raises:
        ReproductionError: the code is not here, not handed over, and no checkout has its commit.
    """
    recorded = read_recorded(tags)
    is_here = bool(recorded.tree) and tree_id(root / FOLDER) == recorded.tree
    if handed is None or is_here:
        found = find_code(recorded, root)
        if found is None:
            raise _unavailable(recorded, tags, root, image_commit)
        with tempfile.TemporaryFile() as archive:
            write_archive(found, root, archive)
            archive.seek(0)
            _extract(archive, folder)
        commit = found.commit
    else:
        commit = _extract(handed, folder)
    if is_here:
        where = f"as it is here: src/ is tree {recorded.tree[:_SHORT]}, as recorded"
        source = CodeSource(recorded.commit or UNKNOWN, where)
    else:
        source = _describe(recorded, tags, commit, folder)
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


def _extract(file: IO[bytes], folder: Path) -> str:
    """Unpack an archive; the commit that it names, or an empty string."""
    try:
        with tarfile.open(fileobj=file, mode="r|") as archive:
            commit = archive.pax_headers.get(_COMMIT_HEADER, "")
            archive.extractall(folder, members=_within(archive))  # noqa: S202 - checked there
    except tarfile.TarError as error:
        raise ReproductionError(
            f"The code was not handed over as a tar archive: {error}.",
            fix="git archive COMMIT writes one.",
        ) from error
    if not (folder / FOLDER).is_dir():
        raise ReproductionError(
            f"There is no folder {FOLDER}/ in the code that was handed over.",
            fix="git archive COMMIT writes the whole commit.",
        )
    return commit


def _within(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Files, folders and links that stay in the folder: Python before 3.11.4 has no filter."""
    for member in archive:
        names = [member.name]
        if member.issym():
            names.append(str(PurePath(member.name).parent / member.linkname))
        is_known = member.isreg() or member.isdir() or member.issym()
        if not is_known or any(normpath(name).startswith(("/", "..")) for name in names):
            raise tarfile.ExtractError(f"{member.name} is not a file in it")
        yield member


def _describe(
    recorded: RecordedCode, tags: Mapping[str, str], commit: str, folder: Path
) -> CodeSource:
    """What the code in `folder` is, by its content, beside what is on record."""
    found = tree_id(folder / FOLDER)
    where = f"commit {commit[:_SHORT]}" if commit else "code that no commit names"
    if recorded.tree and found == recorded.tree:
        where = f"{where}, whose src/ is tree {found[:_SHORT]}, as recorded"
        return CodeSource(commit or recorded.commit or UNKNOWN, where)
    if recorded.commit and commit != recorded.commit:
        return CodeSource(commit or UNKNOWN, where, f"commit {recorded.commit[:_SHORT]}", where)
    if tags.get("git.dirty") == "true":
        changes = f"a dirty tree, with changes that were never committed ({_changed(tags)})"
        return CodeSource(commit, where, changes, f"{where} without them")
    if recorded.tree:
        here = f"{where}, with another src/"
        return CodeSource(commit, here, f"src/ as tree {recorded.tree[:_SHORT]}", here)
    return CodeSource(commit, where)


def _changed(tags: Mapping[str, str]) -> str:
    changed = tags.get("git.changed", "").splitlines()
    if not changed:
        return "which files is not on record: it was trained in an image, which has no git"
    more = f" and {len(changed) - _NAMED_FILES} more" if len(changed) > _NAMED_FILES else ""
    return ", ".join(changed[:_NAMED_FILES]) + more


def _unavailable(
    recorded: RecordedCode, tags: Mapping[str, str], root: Path, image_commit: str
) -> ReproductionError:
    if not recorded.commit and "git.tree" not in tags:
        return ReproductionError(
            "Which code trained it is not on record, neither a commit nor a tree.",
            fix=ONLY_TRAINED,
        )
    here = (
        f"this image was built from {image_commit}" if image_commit else "no checkout here has it"
    )
    wanted = (
        f"of commit {recorded.commit}"
        if recorded.commit
        else f"with src/ as tree {recorded.tree[:_SHORT]} (no commit is on record)"
    )
    if tags.get("git.dirty") == "true":
        wanted += f", with changes that were never committed ({_changed(tags)}),"
    return ReproductionError(
        f"The code {wanted} is not available: {here}.",
        fix=f"In the checkout: {fetch_command(root)}, then again: make reproduce VERSION=… hands "
        "the code over to the container; without the stack: modelyard reproduce …",
    )
