"""Model versions as folders, as a registry's store holds them: real ONNX graphs, no mlflow.

The usual graph answers `1000 * version + amount`: a torn or a stale answer, or one that belongs to
another row, is seen at once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

from modelyard.contract import Contract
from modelyard.errors import RegistryNotFoundError, RegistryUnavailableError
from modelyard.registry import ModelUri, ModelVersion, Run, parse_model_uri, write_manifest
from modelyard.registry.fetch import Verification
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.scoring.bundle import open_bundle
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.serving.model.snapshot import Origin, Snapshot

NAME = "toy"
URI = parse_model_uri(f"models:/{NAME}@champion")

CONTRACT: dict[str, Any] = {
    "description": "Answers 1000 * version + amount.",
    "features": [
        {"name": "amount", "type": "number", "minimum": 0, "maximum": 999, "unit": "EUR"},
        {
            "name": "merchant_category",
            "type": "category",
            "categories": ["electronics", "grocery", "books: new"],
        },
        {"name": "hour", "type": "integer", "minimum": 0, "maximum": 23},
        {"name": "is online", "type": "boolean"},
        {"name": "note", "type": "string", "max_length": 8},
    ],
    "output": {"name": "answer", "kind": "value"},
    "example": {
        "amount": 12.5,
        "merchant_category": "grocery",
        "hour": 9,
        "is online": True,
        "note": "hi",
    },
}
ROW: dict[str, Any] = CONTRACT["example"]

_ONNX_TYPES = {
    "number": TensorProto.DOUBLE,
    "integer": TensorProto.INT64,
    "boolean": TensorProto.BOOL,
    "category": TensorProto.STRING,
    "string": TensorProto.STRING,
}


def contract_with(**changes: Any) -> dict[str, Any]:
    """The usual contract with some keys changed."""
    return CONTRACT | changes


def contract_of(features: Sequence[str] = ("number",), **output: Any) -> Contract:
    """A contract with features a, b, c … of these types."""
    names = "abcdef"[: len(features)]
    examples = {"number": 1.5, "integer": 2, "boolean": True, "string": "x"}
    return Contract.model_validate(
        contract_with(
            features=[{"name": n, "type": t} for n, t in zip(names, features, strict=True)],
            example={n: examples[t] for n, t in zip(names, features, strict=True)},
            output={"name": "y", **output},
        )
    )


def save_graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, list[Any]]],
    outputs: Mapping[str, tuple[int, list[Any]]],
    constants: Mapping[str, tuple[int, list[int], list[Any]]] | None = None,
) -> None:
    """Write a graph; inputs and outputs by name: element type and shape."""
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in outputs.items()],
        [helper.make_tensor(n, *value) for n, value in (constants or {}).items()],
    )
    domains = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = 9
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def save_toy_graph(path: Path, number: int, contract: Mapping[str, Any] = CONTRACT) -> None:
    """`1000 * number + amount`, one input a feature."""
    save_graph(
        path,
        [
            helper.make_node("Add", ["amount", "offset"], ["sum"]),
            helper.make_node("Cast", ["sum"], ["answer"], to=TensorProto.FLOAT),
        ],
        {f["name"]: (_ONNX_TYPES[f["type"]], ["n"]) for f in contract["features"]},
        {"answer": (TensorProto.FLOAT, ["n"])},
        {"offset": (TensorProto.DOUBLE, [1], [1000.0 * number])},
    )


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


def snapshot_of(folder: Path, number: int = 1) -> Snapshot:
    """The version in `folder` as the server holds it, without a registry."""
    bundle = open_bundle(folder)
    return Snapshot(
        version=ModelVersion(NAME, str(number), "run", "", "READY", 0),
        contract=bundle.contract,
        contract_source=bundle.contract_source,
        origin=Origin(),
        verification=Verification.ABSENT,
        runner=bundle.runner,
        decoder=RowDecoder(bundle.contract),
        loaded_at=datetime.now(UTC),
        example_tried=bundle.has_example,
        runs_inline=True,
    )


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

    def add(self, number: int, **options: Any) -> ModelVersion:
        """Register version `number` and let the alias point to it."""
        files = self.folder / str(number)
        shutil.rmtree(files, ignore_errors=True)
        digest = write_version(files, number, **options)
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

    def download(self, version: ModelVersion, folder: Path) -> None:
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
