"""What is packaged of a fitted model: an ONNX graph, or the scikit-learn pipeline itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from modelyard.contract import Contract
from modelyard.errors import TrainingError
from modelyard.scoring.column import Columns
from modelyard.training.package.folder import check_parity, write_package, write_pipeline_package
from modelyard.training.package.sklearn_model import SklearnModel
from modelyard.training.package.sklearn_onnx import compilers
from modelyard.training.project import FittedModel, Predictor


@dataclass(frozen=True)
class Export:
    """What is packaged. Without a graph, `pipeline` is set, and `why` says why.

    Attributes:
        difference: largest difference between the graph and the fitted model on the test rows.
    """

    graph: onnx.ModelProto | None
    difference: float = 0.0
    pipeline: Any = None
    why: str = ""

    @property
    def format(self) -> str:
        """What the package holds: onnx or sklearn."""
        return "sklearn" if self.graph is None else "onnx"

    def write(
        self, folder: Path, contract: Contract, *, run_id: str, model_id: str, profile: str
    ) -> str:
        """Write the model version into `folder`; returns the sha256 of its manifest."""
        ids = {"run_id": run_id, "model_id": model_id, "profile": profile}
        if self.graph is None:
            return write_pipeline_package(folder, self.pipeline, contract, **ids)
        return write_package(folder, self.graph, contract, **ids)

    def sentence(self) -> str:
        """What is packaged, and how near it comes to the fitted model."""
        if self.graph is None:
            return f"scikit-learn pipeline as it is. {self.why}"
        how = f", {self.why}" if self.why else ""
        return f"ONNX graph{how}; differs by at most {self.difference:.2g} on the test set"


def export_model(
    model: Predictor, contract: Contract, columns: Columns, expected: np.ndarray
) -> Export:
    """Export `model`, and compare it with `expected`, its predictions for the rows `columns`.

    Raises:
        TrainingError: it cannot be exported, or its own graph predicts something else.
    """
    if isinstance(model, FittedModel):
        graph = model.to_onnx()
        return Export(graph, check_parity(graph, contract, columns, expected))
    if not isinstance(model, SklearnModel):
        raise TrainingError(
            f"The project's fit returned a {type(model).__name__}, which cannot be exported.",
            fix="Give it a method to_onnx, or return a SklearnModel: docs/your-own-model.md, 3.",
        )
    reasons = []
    for how, compiled in compilers(model.pipeline, contract, model.order).items():
        try:
            graph = compiled()
            return Export(graph, check_parity(graph, contract, columns, expected), why=how)
        except TrainingError as error:
            reasons.append(error.detail)
    why = " ".join(dict.fromkeys(reasons))
    if model.order != sorted(model.order):
        raise TrainingError(
            "The pipeline cannot be compiled to ONNX, and without that its classes are in another "
            "order than the contract's.",
            fix=f"List the contract's classes in sorted order. {why}",
        )
    return Export(None, pipeline=model.pipeline, why=why)
