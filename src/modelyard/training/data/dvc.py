"""Datasets into DVC's store, from which `dvc pull` fetches them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from modelyard.errors import DataError
from modelyard.program import Echo
from modelyard.provenance import md5_of, read_pointer
from modelyard.training.project import Project

_DVC_TIMEOUT_S = 120


def push_demo_data(project: Project, folder: Path, name: str, echo: Echo) -> None:
    """Generate the demo dataset and push it, unless the pointer names another dataset.

    Safe to repeat, and to run in two places at once: the store names files by their md5.

    Args:
        folder: the data folder of a DVC workspace; holds the pointer `name`.dvc.

    Raises:
        DataError: the pointer is missing, or the store refuses the file.
    """
    pointer = read_pointer(folder, name)
    if project.generate is None:
        echo("The project has no demo dataset: nothing to do.")
        return
    path, fresh = folder / name, folder / f".{name}.new"
    try:
        project.generate(fresh)
        if md5_of(fresh) != pointer.md5:
            echo(f"{name}.dvc names another dataset than the demo one: left alone.")
            return
        path.unlink(missing_ok=True)
        shutil.move(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    _push(folder, name)
    echo(f"{name}, md5 {pointer.md5}, {pointer.size_bytes:,} bytes: in the store.")


def push_data(source: Path, folder: Path, name: str, echo: Echo) -> None:
    """Push a dataset of one's own into the store, if it is the one that its pointer names.

    Args:
        source: the file, or the folder that holds it as `name`.
        folder: the data folder of a DVC workspace; holds the pointer `name`.dvc.

    Raises:
        DataError: no such file, it is not the one that the pointer names, or the store refuses
            it.
    """
    pointer = read_pointer(folder, name)
    file = source / name if source.is_dir() else source
    if not file.is_file():
        raise DataError(f"There is no file {file}.")
    if (found := md5_of(file)) != pointer.md5:
        raise DataError(
            f"{file} is not the dataset that {name}.dvc names: expected md5 {pointer.md5}, found "
            f"{found}.",
            fix=f"Record the new one first: dvc add {folder / name}",
        )
    if file.resolve() != (folder / name).resolve():
        (folder / name).unlink(missing_ok=True)
        shutil.copyfile(file, folder / name)
    _push(folder, name)
    echo(f"{name}, md5 {pointer.md5}, {pointer.size_bytes:,} bytes: in the store.")


def _push(folder: Path, name: str) -> None:
    path = str((folder / name).relative_to(folder.parent))
    _dvc(folder.parent, "commit", "--force", "--quiet", path)
    _dvc(folder.parent, "push", "--quiet", path)


def _dvc(workspace: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "dvc", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            command,
            cwd=workspace,
            capture_output=True,
            text=True,
            timeout=_DVC_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(
            f"dvc {arguments[0]} did not end within {_DVC_TIMEOUT_S} s.",
            fix="Is the store up? `docker compose ps storage`",
        ) from error
    if done.returncode != 0:
        last = next(iter(reversed(done.stderr.strip().splitlines())), "no message")
        raise DataError(
            f"dvc {arguments[0]} failed: {last}",
            fix="Is the store up? `docker compose ps storage`",
        )
