"""Everything on record about one model version: where it came from and how aliases moved."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from modelyard.errors import RegistryError, RegistryUnavailableError
from modelyard.registry.client import RegistryClient
from modelyard.registry.lookup import find_version
from modelyard.registry.manifest import FILE_NAME as MANIFEST_FILE
from modelyard.registry.moves import AliasMove, aliases_on_record, moves_of
from modelyard.registry.records import ModelVersion, Run

CONFIG_FILE = "config.yaml"
PACKAGES_FILE = "packages.txt"


@dataclass(frozen=True)
class Lineage:
    """What is on record about one version; an empty part was never recorded, or is lost.

    `moves` are the moves of any alias to this version or away from it; `files` is the manifest,
    file name → sha256; `lost` lists what could not be read, and why.
    """

    version: ModelVersion
    run: Run | None
    config: str
    packages: tuple[str, ...]
    files: Mapping[str, str]
    moves: Sequence[AliasMove]
    lost: tuple[str, ...] = ()

    @property
    def tags(self) -> Mapping[str, str]:
        """Tags of the run, with the version's own on top."""
        return {**(self.run.tags if self.run else {}), **self.version.tags}


def read_lineage(registry: RegistryClient, name: str, number: str) -> Lineage:
    """The lineage of version `number` of the registered model `name`.

    A run, a file or a manifest that is gone is listed in `lost`; the rest is still returned.

    Raises:
        RegistryNotFoundError: no such version.
        RegistryUnavailableError: the registry does not answer.
    """
    version = find_version(registry, name, number)
    model = registry.registered_model(name)
    moves = [
        move
        for alias in aliases_on_record(model)
        for move in moves_of(model, alias)
        if version.version in (move.moved_from, move.moved_to)
    ]
    lost: list[str] = []
    run, config, packages = None, "", ""
    try:
        run = registry.run(version.run_id)
    except RegistryUnavailableError:
        raise
    except RegistryError as error:
        lost.append(f"the run: {error.detail}")
    if run is not None:
        config = _text(partial(registry.run_text, run), CONFIG_FILE, lost)
        packages = _text(partial(registry.run_text, run), PACKAGES_FILE, lost)
    manifest = _text(partial(registry.version_text, version), MANIFEST_FILE, lost)
    try:
        files = dict(json.loads(manifest or "{}").get("sha256", {}))
    except (ValueError, AttributeError, TypeError):
        files = {}
    return Lineage(version, run, config, tuple(packages.split()), files, moves, tuple(lost))


def _text(read: Callable[[str], str], name: str, lost: list[str]) -> str:
    try:
        return read(name)
    except RegistryError as error:
        lost.append(f"{name}: {error.detail}")
    return ""
