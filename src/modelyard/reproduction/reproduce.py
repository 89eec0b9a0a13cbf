"""`modelyard reproduce`, from top to bottom: record, code, data, training, comparison."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from modelyard.errors import DataError, ReproductionError
from modelyard.machine import machine_tags
from modelyard.program import Echo
from modelyard.provenance import DIRTY_MARK, PROCESSES_TAG, package_list
from modelyard.registry import RegistryClient
from modelyard.registry.lineage import CONFIG_FILE, Lineage, read_lineage
from modelyard.registry.manifest import FILE_NAME as MANIFEST_FILE
from modelyard.reproduction.advice import advise
from modelyard.reproduction.comparison import (
    Mismatch,
    compare_files,
    compare_machines,
    compare_packages,
)
from modelyard.reproduction.rebuild import rebuild
from modelyard.reproduction.source import ONLY_TRAINED, CodeSource, lay_out
from modelyard.reproduction.weights import describe_difference
from modelyard.settings import ReproductionSettings
from modelyard.source_tree import git
from modelyard.training.data.objects import OBJECTS_FILE, find_objects
from modelyard.training.experiment import is_in_store

_CONTAINER_CACHE = Path("/var/cache/dvc")
GRAPH_FILE = "model.onnx"
_DATA_TAGS = ("data.path", "data.md5", "data.size_bytes")


@dataclass(frozen=True)
class Reproduction:
    """The result. `circumstances` differ around the training, `files` in what it made.

    `weights` says how far the two graphs are apart, where they are not the same. `commit` is the
    one that was trained again.
    """

    version: str
    circumstances: tuple[Mismatch, ...]
    files: tuple[Mismatch, ...]
    compared: Mapping[str, str]
    weights: str = ""
    commit: str = ""

    @property
    def identical(self) -> bool:
        """Whether every file that can be the same is the same."""
        return not self.files

    def first_mismatch(self) -> Mismatch:
        """The likeliest cause: what differed before the training, else the first file."""
        return (*self.circumstances, *self.files)[0]


def reproduce_version(
    registry: RegistryClient,
    name: str,
    number: str,
    root: Path,
    settings: ReproductionSettings,
    echo: Echo,
    code_archive: IO[bytes] | None = None,
) -> Reproduction:
    """Rebuild version `number` of `name` and compare it with the registered files.

    The registry is only read.

    Args:
        root: the checkout or the image's folder.
        echo: shows each step, a line at a time.
        code_archive: the recorded code as tar, where there is no git that has it.

    Raises:
        RegistryError: the registry does not answer, or has no such version.
        ReproductionError: something it needs is not on record, or not available.
    """
    lineage = read_lineage(registry, name, number)
    _check_record(lineage)
    tags = lineage.tags
    with tempfile.TemporaryDirectory(prefix="modelyard-reproduce-") as folder:
        scratch = Path(folder)
        code = scratch / "code"
        code.mkdir()
        built_from = settings.git_commit.removesuffix(DIRTY_MARK)
        source = lay_out(tags, root, built_from, code, code_archive)
        echo(f"code      {source.where}")
        echo(f"data      {tags['data.path']}, md5 {tags['data.md5']}")
        _check_objects(lineage)
        circumstances = (
            *([Mismatch("code", source.recorded, source.now)] if source.recorded else []),
            *compare_packages(lineage.packages, package_list().split()),
            *compare_machines(tags, machine_tags()),
        )
        for mismatch in circumstances:
            echo(f"differs   {mismatch.sentence()}")
        if source.recorded:
            echo("          so it cannot be the same; trained all the same, to see what differs")
        processes = tags.get(PROCESSES_TAG, "1")
        ranks = "" if processes == "1" else f" by {processes} processes, as it was"
        echo(f"training  against an MLflow of its own{ranks}; this takes as long as it took then")
        environment = _environment(tags, source, settings, root, scratch)
        try:
            rebuilt = rebuild(code, lineage.config, environment, name, scratch, processes)
        except ReproductionError as error:
            if not circumstances:
                raise
            first = circumstances[0]
            advice = advise(first, number, source.commit, in_checkout=is_checkout(root))
            raise ReproductionError(
                f"{error.detail}\nThe first thing that differs is {first.sentence()}.",
                fix=error.fix or advice,
            ) from error
        files = tuple(compare_files(lineage.files, rebuilt))
        weights = ""
        if any(mismatch.what == GRAPH_FILE for mismatch in files):
            registered = scratch / GRAPH_FILE
            registry.fetch_file(lineage.version, GRAPH_FILE, registered)
            weights = describe_difference(registered, rebuilt / GRAPH_FILE)
    return Reproduction(number, circumstances, files, lineage.files, weights, source.commit)


def is_checkout(root: Path) -> bool:
    """Whether this is a checkout, or a folder of one, and not an image."""
    return bool(git(root, "rev-parse", "HEAD"))


def _check_record(lineage: Lineage) -> None:
    version = lineage.version
    who = f"{version.name} version {version.version}"
    if not lineage.config:
        why = next((line for line in lineage.lost if CONFIG_FILE in line or "run" in line), "")
        fault = f"The configuration of {who} is not on record{f' ({why})' if why else ''}."
    elif not lineage.files:
        fault = f"{who} has no {MANIFEST_FILE}: there is nothing to compare with."
    elif missing := [tag for tag in _DATA_TAGS if tag not in lineage.tags]:
        fault = f"The data of {who} is not on record: no {', '.join(missing)}."
    else:
        return
    raise ReproductionError(fault, fix=ONLY_TRAINED)


def _check_objects(lineage: Lineage) -> None:
    """Refuse data in a store that are not there as they were: ReproductionError."""
    uri, md5 = lineage.tags["data.path"], lineage.tags["data.md5"]
    if not is_in_store(uri):
        return  # DVC fetches exactly that version, or says that it is gone
    try:
        found = find_objects(uri)
    except DataError as error:
        raise ReproductionError(f"Its data are not available: {error.detail}") from error
    if found.md5 != md5:
        raise ReproductionError(
            f"The data at {uri} are not what it was trained on: the list of objects has md5 "
            f"{found.md5}, recorded is {md5}.",
            fix=f"The run's artifact {OBJECTS_FILE} lists the objects as they were. A store with "
            "versioning still has them; put them back, and reproduce again.",
        )


def _environment(
    tags: Mapping[str, str],
    source: CodeSource,
    settings: ReproductionSettings,
    root: Path,
    scratch: Path,
) -> dict[str, str]:
    own_cache = _CONTAINER_CACHE if os.access(_CONTAINER_CACHE, os.W_OK) else scratch / "dvc-cache"
    environment = {
        "GIT_COMMIT": source.commit,
        "DVC_CACHE_DIR": str(settings.dvc_cache_dir or own_cache),
    }
    demo = root / settings.modelyard_state_dir
    if not settings.dvc_remote_url and (demo / "dvc-store").is_dir():
        environment["DVC_REMOTE_URL"] = str(demo / "dvc-store")
    if threads := tags.get("cpu.threads"):
        # sums over many numbers depend on how many threads share them
        environment["OMP_NUM_THREADS"] = threads
    return environment
