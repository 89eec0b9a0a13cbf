"""The folder that becomes a model version: MLflow's own files, the contract and the manifest."""

from __future__ import annotations

import platform
import tempfile
from importlib import metadata
from pathlib import Path

import mlflow.onnx
import mlflow.sklearn
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import skops.io  # type: ignore[import-untyped]
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from sklearn.base import BaseEstimator

from modelyard import contract as contract_file
from modelyard.contract import Contract, FeatureType, OutputKind
from modelyard.errors import ModelRefusedError, TrainingError
from modelyard.profile import FILE_NAME as PROFILE_FILE
from modelyard.registry import write_manifest
from modelyard.scoring.column import Columns
from modelyard.scoring.onnx.runner import OnnxModel
from modelyard.scoring.runner import RunnerError

PARITY = 1e-5
"""Largest difference allowed between the model as fitted and as exported, absolute up to 1 and
relative beyond; float32 has 6e-8."""

_MLFLOW_TYPES = {
    FeatureType.NUMBER: DataType.double,
    FeatureType.INTEGER: DataType.long,
    FeatureType.BOOLEAN: DataType.boolean,
    FeatureType.STRING: DataType.string,
    FeatureType.CATEGORY: DataType.string,
}


def write_package(
    folder: Path,
    graph: onnx.ModelProto,
    contract: Contract,
    *,
    run_id: str,
    model_id: str,
    profile: str = "",
) -> str:
    """Write a model version into `folder`; returns the sha256 of its manifest.

    Args:
        profile: the data profile (`profile.py`); an empty one is left out.
    """
    mlflow.onnx.save_model(
        graph,
        str(folder),
        signature=signature_of(contract),
        input_example=pd.DataFrame([dict(contract.example)]),
        mlflow_model=Model(run_id=run_id, model_id=model_id),
        pip_requirements=[f"onnxruntime=={onnxruntime.__version__}", f"numpy=={np.__version__}"],
        save_as_external_data=False,
    )
    return _finish(folder, contract, profile)


def write_pipeline_package(
    folder: Path,
    pipeline: BaseEstimator,
    contract: Contract,
    *,
    run_id: str,
    model_id: str,
    profile: str = "",
) -> str:
    """Write a scikit-learn pipeline as it is, for MLflow's pyfunc; returns its manifest's sha256.

    The file is skops, which runs no code when it is read: types of the pipeline that skops does not
    know are listed in MLmodel, for a reader to trust or not. Its pyfunc answers with
    `predict_proba` unless the contract's output is a value.

    Raises:
        TrainingError: the pipeline holds something that cannot be written without code.
    """
    of_value = contract.output.kind is OutputKind.VALUE
    try:
        written = skops.io.dumps(pipeline)
        unknown = skops.io.get_untrusted_types(data=written)
        skops.io.loads(written, trusted=unknown)  # what is written may still be unreadable
    except Exception as error:  # skops has no class of its own for what it cannot write
        raise TrainingError(
            f"The scikit-learn pipeline can be written neither as ONNX nor as skops: {error}",
            fix="Use scikit-learn's own transformers; a lambda or a local class cannot be served.",
        ) from error
    mlflow.sklearn.save_model(
        pipeline,
        str(folder),
        signature=signature_of(contract),
        input_example=pd.DataFrame([dict(contract.example)]),
        mlflow_model=Model(run_id=run_id, model_id=model_id),
        pip_requirements=[
            f"{name}=={metadata.version(name)}"
            for name in ("scikit-learn", "skops", "pandas", "numpy")
        ],
        pyfunc_predict_fn="predict" if of_value else "predict_proba",
        serialization_format="skops",
        skops_trusted_types=unknown or None,
    )
    return _finish(folder, contract, profile)


def _finish(folder: Path, contract: Contract, profile: str) -> str:
    contract = contract.model_copy(update={"python_version": platform.python_version()})
    (folder / contract_file.FILE_NAME).write_text(contract.to_yaml(), encoding="utf-8")
    if profile:
        (folder / PROFILE_FILE).write_text(profile, encoding="utf-8")
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

    Differences of values beyond 1 are divided by the value.

    Raises:
        TrainingError: serving could not run the graph by this contract, or it answers otherwise.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="modelyard-parity-") as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(graph.SerializeToString())
            answered = OnnxModel(path).bind(contract).predict(columns)
    except (ModelRefusedError, RunnerError) as error:
        raise TrainingError(f"The exported graph cannot be served: {error}") from error
    if answered.shape != expected.shape:
        raise TrainingError(
            f"The exported graph answers in shape {answered.shape}, "
            f"the fitted model in {expected.shape}."
        )
    differences = np.abs(answered.astype(np.float64) - expected) / np.maximum(1, np.abs(expected))
    difference = float(np.max(differences, initial=0.0))
    if not difference <= PARITY:
        raise TrainingError(
            f"The exported graph differs from the fitted model by up to {difference:.2g} on the "
            f"test set; at most {PARITY:g} is allowed."
        )
    return difference
