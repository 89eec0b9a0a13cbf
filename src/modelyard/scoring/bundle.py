"""A version's files, understood: which flavor they are, where the graph is, which contract holds.

This is the one place that picks a runner for a version: ONNX is data and runs in this process,
whatever else MLflow can load may be code and runs in children, where the settings allow it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from modelyard.config import read_yaml
from modelyard.contract import FILE_NAME as CONTRACT_FILE
from modelyard.contract import Contract, Output
from modelyard.errors import ConfigError, ModelRefusedError
from modelyard.scoring.child.opening import ChildOptions, OpenedModel
from modelyard.scoring.child.runner import ChildRunner
from modelyard.scoring.onnx.runner import OnnxModel, OnnxRunner
from modelyard.scoring.signature import derive_contract

_MLMODEL = "MLmodel"
_PYFUNC = "python_function"
_LISTED_FILES = 8


class ContractSource(StrEnum):
    """Where the contract comes from."""

    CONTRACT = "contract.yaml"
    SIGNATURE = "MLflow signature"


@dataclass(frozen=True)
class Bundle:
    """An opened version: its runner, and the contract that the runner is bound to."""

    contract: Contract
    contract_source: ContractSource
    has_example: bool
    runner: OnnxRunner | ChildRunner


def open_bundle(folder: Path, children: ChildOptions | None = None) -> Bundle:
    """Open the version whose files are in `folder`.

    Args:
        folder: the version's files.
        children: how models that are not ONNX are run; None refuses them.

    Raises:
        ModelRefusedError: it cannot be served by this server.
        ContractError: its contract does not hold together.
    """
    _refuse_links(folder)
    mlmodel = _read_mlmodel(folder)
    flavors = _flavors(mlmodel)
    stated = _stated_contract(folder)
    if children is None or _is_onnx(flavors):
        model = OnnxModel(_graph_path(folder, flavors))
        contract, source, has_example = _contract(folder, mlmodel, stated, model.derived_output)
        return Bundle(contract, source, has_example, OnnxRunner(model, contract))
    opened = OpenedModel(folder, mlmodel, children)
    try:
        contract, source, has_example = _contract(folder, mlmodel, stated, opened.derived_output)
        return Bundle(contract, source, has_example, opened.bind(contract))
    except BaseException:
        opened.close()
        raise


def runs_in_process(folder: Path, children: ChildOptions | None) -> bool:
    """Whether `open_bundle` would run the version in this process; raises ModelRefusedError."""
    _refuse_links(folder)
    return children is None or _is_onnx(_flavors(_read_mlmodel(folder)))


def _is_onnx(flavors: Mapping[str, Any]) -> bool:
    return "onnx" in flavors or _PYFUNC not in flavors


def _contract(
    folder: Path,
    mlmodel: Mapping[str, Any],
    stated: Contract | None,
    derived_output: Callable[[], Output],
) -> tuple[Contract, ContractSource, bool]:
    """The version's own contract, or one from its signature; and whether its example is real."""
    if stated is not None:
        return stated, ContractSource.CONTRACT, True
    contract, has_example = derive_contract(folder, mlmodel, derived_output())
    return contract, ContractSource.SIGNATURE, has_example


def _refuse_links(folder: Path) -> None:
    """A registry's store has files and folders only; a link would lead out of what was checked."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ModelRefusedError(
                f"{path.relative_to(folder)} is among the version's files and is no plain file."
            )


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


def _flavors(mlmodel: Mapping[str, Any]) -> Mapping[str, Any]:
    flavors = mlmodel.get("flavors")
    return {str(k): v for k, v in flavors.items()} if isinstance(flavors, dict) else {}


def _graph_path(folder: Path, flavors: Mapping[str, Any]) -> Path:
    """The version's one ONNX file: the one that MLmodel names, or the only one there is.

    A graph in a version of another flavor is a part of that model, and not the model.
    """
    onnx = flavors.get("onnx")
    named = onnx.get("data") if isinstance(onnx, dict) else None
    if isinstance(named, str):
        path = (folder / named).resolve()
        if path.is_relative_to(folder.resolve()) and path.is_file():
            return path
        raise ModelRefusedError("MLmodel names an ONNX file that is not among the version's files.")
    graphs = sorted(folder.rglob("*.onnx"))
    if len(graphs) == 1 and _PYFUNC not in flavors:
        return graphs[0]
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    listed = ", ".join(files[:_LISTED_FILES]) + (", …" if len(files) > _LISTED_FILES else "")
    found = f"the flavors {', '.join(flavors)}" if flavors else "no MLmodel"
    count = "ONNX only as a part" if len(graphs) == 1 else f"{len(graphs) or 'no'} ONNX graphs"
    raise ModelRefusedError(
        f"This server serves ONNX and the version holds {count}: found {found} and the files "
        f"{listed}.",
        fix=(
            "Register the model with mlflow.onnx, or with modelyard's training; "
            "SERVING_MODEL_FORMATS=any lets models of other flavors run their code."
        ),
    )
