"""Opening a version: from its files to what answers rows, bound to the contract that holds.

This is the one place that picks a runner. An ONNX graph is data, and runs in this process when what
it costs is told by the shape of its input. One that may take any time or memory runs in children,
and so does whatever else MLflow can load, which may be code. Serving, the gate and `modelyard
batch` open versions here, so what one of them is answered the others are answered too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Self

from modelyard.contract import Contract
from modelyard.errors import ModelRefusedError
from modelyard.scoring.child.opening import ChildOptions, OpenedGraph, OpenedModel
from modelyard.scoring.child.runner import ChildRunner
from modelyard.scoring.files import VersionFiles
from modelyard.scoring.onnx.cost import unbounded_cost
from modelyard.scoring.onnx.runner import OnnxModel, OnnxRunner
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.scoring.signature import derive_contract
from modelyard.scoring.trial import Trial, try_model

log = logging.getLogger(__name__)


class ContractSource(StrEnum):
    """Where the contract comes from."""

    CONTRACT = "contract.yaml"
    SIGNATURE = "MLflow signature"


@dataclass(frozen=True)
class Bundle:
    """An opened version; as a context manager it closes its runner.

    Attributes:
        contract: what the runner takes and answers.
        has_example: whether the contract's example is a real row, on which the model can be tried.
        runner: answers columns that keep the contract.
        samples: strings that the model is known to know, by feature.
    """

    contract: Contract
    contract_source: ContractSource
    has_example: bool
    runner: OnnxRunner | ChildRunner
    samples: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def decoder(self) -> RowDecoder:
        """Makes rows, and columns of rows, by the contract."""
        return RowDecoder(self.contract)

    def try_out(self, served: Contract | None = None) -> Trial:
        """Let the model answer a row, as `scoring/trial.py` says; `served` is served until now.

        Raises:
            ModelRefusedError: it answered none; ModelNotLoadedError when it took too long.
        """
        return try_model(
            self.runner,
            self.decoder,
            self.contract,
            has_example=self.has_example,
            served=served,
            samples=self.samples,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.runner.close()


def open_bundle(folder: Path, children: ChildOptions | None) -> Bundle:
    """Open the version whose files are in `folder`.

    Args:
        folder: the version's files; those of a model in children have to stay until it is closed.
        children: how models run that do not run in this process; with None every graph does,
            whatever it costs, and code is refused.

    Raises:
        ModelRefusedError: it cannot be opened here.
        ContractError: its contract does not hold together.
    """
    files = VersionFiles(folder)
    stated = files.contract()
    model = _load(files, children)
    try:
        if stated is not None:
            return Bundle(stated, ContractSource.CONTRACT, True, model.bind(stated))  # noqa: FBT003
        contract, has_example = derive_contract(folder, files.mlmodel, model.derived_output())
        source, samples = ContractSource.SIGNATURE, model.samples
        return Bundle(contract, source, has_example, model.bind(contract), samples)
    except BaseException:
        model.close()
        raise


def needs_child(files: VersionFiles) -> str:
    """Why the version does not run in the process that opens it; empty when it may."""
    return unbounded_cost(files.graph()) if files.is_onnx else "it may be code"


def _load(
    files: VersionFiles, children: ChildOptions | None
) -> OnnxModel | OpenedModel | OpenedGraph:
    if files.is_onnx:
        path = files.graph()
        if children is not None and (why := needs_child(files)):
            log.info("The graph runs in a process of its own: %s.", why)
            return OpenedGraph(files.folder, path, children)
        return OnnxModel(path)
    if children is None or not children.allows_code:
        raise ModelRefusedError(
            f"Only ONNX is served here, and the version is none: found {files.description()}.",
            fix="Register the model with mlflow.onnx, or with modelyard's training; "
            "SERVING_MODEL_FORMATS=any lets models of other flavors run their code.",
        )
    return OpenedModel(files.folder, files.mlmodel, children)
