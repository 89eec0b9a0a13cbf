"""Versions of the toy model as folders, and a registry of such folders: no mlflow."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from modelyard.contract import Contract
from modelyard.errors import RegistryNotFoundError, RegistryUnavailableError
from modelyard.registry import ModelUri, ModelVersion, Run, write_manifest
from modelyard.registry.manifest import DIGEST_TAG
from support.models.toy import CONTRACT, NAME, save_toy_graph


def write_version(
    folder: Path,
    number: int = 1,
    *,
    contract: Mapping[str, Any] | None = CONTRACT,
    graph: Callable[[Path], None] | None = None,
    manifest: bool = True,
) -> str:
    """A version's files in `folder`; returns the manifest's sha256, or an empty string."""
    folder.mkdir(parents=True, exist_ok=True)
    if graph is None:
        save_toy_graph(folder / "model.onnx", number, contract or CONTRACT)
    else:
        graph(folder / "model.onnx")
    (folder / "MLmodel").write_text("flavors:\n  onnx:\n    data: model.onnx\n")
    if contract is not None:
        parsed = Contract.model_validate(dict(contract))
        (folder / "contract.yaml").write_text(parsed.to_yaml())
    return write_manifest(folder) if manifest else ""


@dataclass
class FolderRegistry:
    """A registry whose versions are folders; what the loader asks of a registry, and no more.

    The tests that need MLflow itself are in tests/integration.
    """

    folder: Path
    tracking_uri: str = "http://registry.invalid"
    alias: str | None = None
    reachable: bool = True
    downloads: list[str] = field(default_factory=list)
    versions: dict[str, ModelVersion] = field(default_factory=dict)

    def add(
        self, number: int, *, write: Callable[..., str] = write_version, **options: Any
    ) -> ModelVersion:
        """Register what `write` makes of `number`, and let the alias point to it."""
        files = self.folder / str(number)
        shutil.rmtree(files, ignore_errors=True)
        digest = write(files, number, **options)
        tags = {
            "git.commit": "abc123",
            "data.md5": "d41d8",
            **({DIGEST_TAG: digest} if digest else {}),
        }
        created_ms = len(self.versions) + 1
        self.versions[str(number)] = ModelVersion(
            NAME, str(number), f"run{number}", str(files), "READY", created_ms, (), tags
        )
        self.alias = str(number)
        return self.versions[str(number)]

    def set_status(self, number: int, status: str) -> None:
        self.versions[str(number)] = replace(self.versions[str(number)], status=status)

    def resolve(self, uri: ModelUri) -> ModelVersion:
        self._reach()
        if self.alias is None:
            raise RegistryNotFoundError(f"There is no version for {uri}.")
        return self.versions[self.alias]

    def download(self, version: ModelVersion, folder: Path, _transfer: object = None) -> None:
        self._reach()
        self.downloads.append(version.version)
        if not Path(version.source).is_dir():
            raise RegistryNotFoundError("Its files are not in the artifact store.")
        shutil.copytree(version.source, folder, dirs_exist_ok=True)

    def run(self, run_id: str) -> Run:
        self._reach()
        return Run(run_id, "FINISHED", {"auc": 0.9, "broken": float("nan")}, {}, {})

    def _reach(self) -> None:
        if not self.reachable:
            raise RegistryUnavailableError(f"{self.tracking_uri} does not answer.")
