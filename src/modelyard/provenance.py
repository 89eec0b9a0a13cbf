"""Where a model came from: code, data, packages, image and machine, as tags of its run.

Neither git nor DVC is needed: in a container the commit is a build argument, and the version of the
data is the md5 in the DVC pointer beside the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from modelyard.config import read_yaml
from modelyard.errors import DataError
from modelyard.machine import machine_tags
from modelyard.source_tree import FOLDER, git, tree_id

UNKNOWN = "unknown"
DIRTY_MARK = "-dirty"
PROCESSES_TAG = "processes"
"""Tag: how many processes fitted the model together."""


@dataclass(frozen=True)
class DataVersion:
    """One version of a dataset: a file and its md5, or the objects at `uri` in a store."""

    path: Path
    md5: str
    size_bytes: int
    uri: str = ""

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self.uri or self.path.name


@dataclass(frozen=True)
class CodeVersion:
    """The commit of the code, and whether files differ from it.

    Attributes:
        tree: git's id of the content of `src/`; it needs no git.
        changed: files that differ from the commit, where git is there to tell.
    """

    commit: str
    dirty: bool
    tree: str = ""
    changed: tuple[str, ...] = ()


def read_pointer(folder: Path, name: str) -> DataVersion:
    """The version of the file `name` that the DVC pointer in `folder` names; the file is not read.

    Raises:
        DataError: there is no pointer, or it does not name exactly one file.
    """
    pointer = folder / f"{name}.dvc"
    if not pointer.is_file():
        raise DataError(
            f"There is no DVC pointer {pointer}, so the version of the data is not known.",
            fix=f"Put the dataset under version control: dvc add {folder / name}",
        )
    match read_yaml(pointer).get("outs"):
        case [{"md5": str(md5), "size": int(size_bytes)}]:
            return DataVersion(folder / name, md5, size_bytes)
        case _:
            raise DataError(f"{pointer} does not name exactly one file with its md5.")


def read_data_version(folder: Path, name: str) -> DataVersion:
    """The version of the file `name` in `folder`, from its DVC pointer, checked against its bytes.

    Raises:
        DataError: there is no pointer or no file, or the file is not the one it names.
    """
    version = read_pointer(folder, name)
    if not version.path.is_file():
        raise DataError(f"{version.path} is not there.", fix="Fetch it: dvc pull")
    if (found := md5_of(version.path)) != version.md5:
        raise DataError(
            f"{version.path} is not the versioned dataset: {name}.dvc says md5 {version.md5}, "
            f"the file has {found}.",
            fix=f"Fetch it again (dvc pull --force), or record the new one (dvc add {name}).",
        )
    return version


def read_code_version(root: Path, built_from: str) -> CodeVersion:
    """The commit of the running code.

    Args:
        root: folder of the checkout.
        built_from: commit that the image was built from, `-dirty` at its end for local changes;
            empty outside an image.
    """
    tree = tree_id(root / FOLDER)
    if built_from:
        commit = built_from.removesuffix(DIRTY_MARK)
        return CodeVersion(commit, built_from.endswith(DIRTY_MARK), tree)
    commit = git(root, "rev-parse", "HEAD")
    if not commit:
        return CodeVersion(UNKNOWN, dirty=False, tree=tree)
    status = git(root, "status", "--porcelain")
    changed = tuple(line.split(maxsplit=1)[-1] for line in status.splitlines())
    return CodeVersion(commit, bool(changed), tree, changed)


def package_list() -> str:
    """Every installed package as `name==version`, a line each, sorted."""
    found = {f"{d.metadata['Name'].lower()}=={d.version}" for d in metadata.distributions()}
    return "\n".join(sorted(found)) + "\n"


def run_tags(code: CodeVersion, data: DataVersion, image: str, seed: int) -> Mapping[str, str]:
    """Tags by which a run is found and reproduced."""
    changed = {"git.changed": "\n".join(code.changed)} if code.changed else {}
    return {
        "mlflow.source.git.commit": code.commit,
        "git.commit": code.commit,
        "git.dirty": UNKNOWN if code.commit == UNKNOWN else str(code.dirty).lower(),
        "git.tree": code.tree or UNKNOWN,
        **changed,
        "data.path": data.name,
        "data.md5": data.md5,
        "data.size_bytes": str(data.size_bytes),
        "packages.sha256": hashlib.sha256(package_list().encode()).hexdigest(),
        "image": image or UNKNOWN,
        "seed": str(seed),
        **machine_tags(),
    }


def md5_of(path: Path) -> str:
    """Hex md5 of the file at `path`: DVC's name for it, no protection against forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
