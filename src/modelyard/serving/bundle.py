"""A version's files, understood: which flavor they are, where the graph is, which contract holds.

This is the one place that picks a runner for a version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.config import read_yaml
from modelyard.contract import FILE_NAME as CONTRACT_FILE
from modelyard.contract import Contract
from modelyard.errors import ConfigError, ModelRefusedError
from modelyard.serving.onnx_runner import OnnxModel, OnnxRunner
from modelyard.serving.runner import Runner
from modelyard.serving.signature import derive_contract
from modelyard.serving.snapshot import ContractSource

_MLMODEL = "MLmodel"
_LISTED_FILES = 8


@dataclass(frozen=True)
class Bundle:
    """An opened version: its runner, and the contract that the runner is bound to."""

    contract: Contract
    contract_source: ContractSource
    has_example: bool
    runner: Runner


def open_bundle(folder: Path) -> Bundle:
    """Open the version whose files are in `folder`.

    Raises:
        ModelRefusedError: it cannot be served by this server.
        ContractError: its contract does not hold together.
    """
    mlmodel = _read_mlmodel(folder)
    model = OnnxModel(_graph_path(folder, mlmodel))
    contract, has_example = _stated_contract(folder), True
    source = ContractSource.CONTRACT
    if contract is None:
        contract, has_example = derive_contract(folder, mlmodel, model.derived_output())
        source = ContractSource.SIGNATURE
    return Bundle(contract, source, has_example, OnnxRunner(model, contract))


def _stated_contract(folder: Path) -> Contract | None:
    path = folder / CONTRACT_FILE
    if not path.is_file():
        return None
    try:
        return Contract.from_yaml(path.read_text(encoding="utf-8"))
    except (ConfigError, UnicodeDecodeError) as error:
        raise ModelRefusedError(f"The version's {CONTRACT_FILE} cannot be read: {error}") from error


def _read_mlmodel(folder: Path) -> Mapping[str, Any]:
    path = folder / _MLMODEL
    if not path.is_file():
        return {}
    try:
        return read_yaml(path)
    except ConfigError as error:
        raise ModelRefusedError(f"The version's MLmodel cannot be read: {error}") from error


def _graph_path(folder: Path, mlmodel: Mapping[str, Any]) -> Path:
    """The version's one ONNX file: the one that MLmodel names, or the only one there is."""
    flavors = mlmodel.get("flavors")
    flavors = flavors if isinstance(flavors, dict) else {}
    onnx = flavors.get("onnx")
    named = onnx.get("data") if isinstance(onnx, dict) else None
    if isinstance(named, str):
        path = (folder / named).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            return path
        raise ModelRefusedError("MLmodel names an ONNX file that is not among the version's files.")
    graphs = sorted(folder.rglob("*.onnx"))
    if len(graphs) == 1:
        return graphs[0]
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    listed = ", ".join(files[:_LISTED_FILES]) + (", …" if len(files) > _LISTED_FILES else "")
    found = f"the flavors {', '.join(flavors)}" if flavors else "no MLmodel"
    count = f"{len(graphs)} ONNX graphs" if graphs else "no ONNX graph"
    raise ModelRefusedError(
        f"This server serves ONNX and the version holds {count}: found {found} and the files "
        f"{listed}.",
        fix="Register the model with mlflow.onnx, or with modelyard's training.",
    )
