"""The folder that becomes a model version: MLflow's own files, the contract and the manifest."""

from __future__ import annotations

from pathlib import Path

import mlflow.onnx
import numpy as np
import onnx
import onnxruntime
import pandas as pd
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from modelyard import contract as contract_file
from modelyard.contract import Contract, FeatureType
from modelyard.errors import TrainingError
from modelyard.registry import write_manifest
from modelyard.training.project import Columns

PARITY = 1e-5
"""Largest difference allowed between the model as fitted and as exported; float32 has 6e-8."""

_MLFLOW_TYPES = {
    FeatureType.NUMBER: DataType.double,
    FeatureType.INTEGER: DataType.long,
    FeatureType.BOOLEAN: DataType.boolean,
    FeatureType.STRING: DataType.string,
    FeatureType.CATEGORY: DataType.string,
}


def write_package(
    folder: Path, graph: onnx.ModelProto, contract: Contract, *, run_id: str, model_id: str
) -> str:
    """Write a model version into `folder`; returns the sha256 of its manifest."""
    mlflow.onnx.save_model(
        graph,
        str(folder),
        signature=signature_of(contract),
        input_example=pd.DataFrame([dict(contract.example)]),
        mlflow_model=Model(run_id=run_id, model_id=model_id),
        pip_requirements=[f"onnxruntime=={onnxruntime.__version__}", f"numpy=={np.__version__}"],
        save_as_external_data=False,
    )
    (folder / contract_file.FILE_NAME).write_text(contract.to_yaml(), encoding="utf-8")
    return write_manifest(folder)


def signature_of(contract: Contract) -> ModelSignature:
    """The contract as an MLflow signature, which knows types but no ranges or categories."""
    inputs = [ColSpec(_MLFLOW_TYPES[f.type], f.name) for f in contract.features]
    return ModelSignature(
        inputs=Schema(inputs), outputs=Schema([ColSpec(DataType.float, contract.output.name)])
    )


def check_parity(
    graph: onnx.ModelProto, contract: Contract, columns: Columns, expected: np.ndarray
) -> float:
    """Largest difference between `expected` and what the exported graph answers for `columns`.

    Raises:
        TrainingError: the graph takes other inputs than the contract says, or answers otherwise.
    """
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    inputs = {value.name for value in session.get_inputs()}
    if inputs != set(contract.names):
        raise TrainingError(
            f"The exported graph takes the inputs {', '.join(sorted(inputs))}; "
            f"the contract names {', '.join(contract.names)}."
        )
    answered = session.run([contract.output.name], dict(columns))[0]
    if answered.shape != expected.shape:
        raise TrainingError(
            f"The exported graph answers in shape {answered.shape}, "
            f"the fitted model in {expected.shape}."
        )
    difference = float(np.max(np.abs(answered.astype(np.float64) - expected), initial=0.0))
    if not difference <= PARITY:
        raise TrainingError(
            f"The exported graph differs from the fitted model by up to {difference:.2g} on the "
            f"test set; at most {PARITY:g} is allowed."
        )
    return difference
