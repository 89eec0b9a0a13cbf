"""A packaged model version as serving runs it: verified files, onnxruntime on one thread.

The gate judges what is served, not what was fitted: candidate and champion both come from the
folder of their version.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow.sklearn
import numpy as np
import onnxruntime
import polars as pl
from mlflow.exceptions import MlflowException

from modelyard import contract as contract_file
from modelyard.contract import Contract, OutputKind
from modelyard.errors import ModelRefusedError
from modelyard.registry import ModelVersion, RegistryClient, read_manifest, verify_files
from modelyard.registry.manifest import DIGEST_TAG, FILE_NAME
from modelyard.training.package.sklearn_model import SklearnModel
from modelyard.training.project import Columns

_MODEL_FILE = "model.onnx"
_PIPELINE_FILE = "model.skops"
_ERRORS_ONLY = 3
_DTYPES = {
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
}
_CALLS = 300
_ROUNDS = 3
_ROWS_AT_ONCE = 100_000
_LONGEST_ROUND_S = 2.0


@dataclass(frozen=True)
class ServedModel:
    """A model that answers columns as the prediction API does.

    `answer` may raise whatever its runtime raises.
    """

    contract: Contract
    answer: Callable[[Columns], np.ndarray]

    def predict(self, columns: Columns) -> np.ndarray:
        """Predictions [n], or [n, classes] for class probabilities.

        Raises:
            ModelRefusedError: it fails on these rows, or an answer is not finite.
        """
        try:
            answer = np.concatenate([self.answer(part) for part in _parts(columns)])
        except Exception as error:  # onnxruntime has a class for each status code
            raise ModelRefusedError(f"It fails on these rows: {error}.") from error
        if not np.isfinite(answer).all():
            raise ModelRefusedError("It answers some of these rows with no finite number.")
        classes = self.contract.output.kind is OutputKind.CLASS_PROBABILITIES
        return answer if classes else answer.reshape(len(answer))

    def columns(self, data: pl.DataFrame) -> Columns:
        """The features of `data` as this model's contract types them.

        Raises:
            ModelRefusedError: `data` lacks a feature, or holds it as another kind of column.
        """
        if missing := [name for name in self.contract.names if name not in data.columns]:
            raise ModelRefusedError(f"The test set has no column {', '.join(missing)}.")
        try:
            return {
                feature.name: data[feature.name].to_numpy().astype(feature.type.dtype, copy=False)
                for feature in self.contract.features
            }
        except (ValueError, TypeError) as error:
            raise ModelRefusedError(f"The test set's columns do not fit: {error}.") from error

    def latency_p99_ms(self) -> float:
        """99th percentile of the time for the contract's example, one row, in milliseconds.

        The best of three rounds: what the machine did beside it is not the model's.
        """
        example = {
            f.name: np.array([self.contract.example[f.name]], dtype=f.type.dtype)
            for f in self.contract.features
        }
        self._round_p99_ms(example)  # the first calls are slower
        return min(self._round_p99_ms(example) for _ in range(_ROUNDS))

    def _round_p99_ms(self, example: Columns) -> float:
        seconds: list[float] = []
        while len(seconds) < _CALLS and sum(seconds) < _LONGEST_ROUND_S:
            begin = time.perf_counter()
            self.predict(example)
            seconds.append(time.perf_counter() - begin)
        return float(np.percentile(seconds, 99)) * 1000


def _parts(columns: Columns) -> Iterator[Columns]:
    """`columns` in parts of so many rows that a model's own copies of one stay small."""
    rows = len(next(iter(columns.values())))
    for start in range(0, max(rows, 1), _ROWS_AT_ONCE):
        yield {name: column[start : start + _ROWS_AT_ONCE] for name, column in columns.items()}


def open_model(folder: Path) -> ServedModel:
    """The model in the version's files under `folder`.

    Raises:
        ModelRefusedError: no contract, no ONNX graph, or they do not fit each other.
        ContractError: the contract does not hold together.
    """
    path = folder / contract_file.FILE_NAME
    if not path.is_file():
        raise ModelRefusedError(f"It has no {contract_file.FILE_NAME}.")
    contract = Contract.from_yaml(path.read_text(encoding="utf-8"))
    if (folder / _MODEL_FILE).is_file():
        return ServedModel(contract, _graph(folder / _MODEL_FILE, contract))
    if (folder / _PIPELINE_FILE).is_file():
        return ServedModel(contract, _pipeline(folder, contract))
    raise ModelRefusedError(f"It has neither {_MODEL_FILE} nor {_PIPELINE_FILE}.")


def _graph(path: Path, contract: Contract) -> Callable[[Columns], np.ndarray]:
    """The ONNX graph at `path`, on one thread as in serving."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime has a class for each status code
        raise ModelRefusedError(f"onnxruntime cannot load {_MODEL_FILE}: {error}.") from error
    inputs = {value.name: value.type for value in session.get_inputs()}
    if set(inputs) != set(contract.names) or not set(inputs.values()) <= set(_DTYPES):
        raise ModelRefusedError("The inputs of its graph are not the features of its contract.")
    names = [value.name for value in session.get_outputs()]
    output = contract.output.name if contract.output.name in names else names[0]

    def answer(columns: Columns) -> np.ndarray:
        feed = {
            name: columns[name].astype(_DTYPES[kind], copy=False) for name, kind in inputs.items()
        }
        answered: np.ndarray = session.run([output], feed)[0]
        return answered

    return answer


def _pipeline(folder: Path, contract: Contract) -> Callable[[Columns], np.ndarray]:
    """The scikit-learn pipeline in the version's files, which MLflow reads without running code."""
    try:
        return SklearnModel(mlflow.sklearn.load_model(str(folder)), contract).predict
    except MlflowException as error:
        raise ModelRefusedError(f"MLflow cannot load {_PIPELINE_FILE}: {error.message}.") from error


def fetch_model(registry: RegistryClient, version: ModelVersion, folder: Path) -> ServedModel:
    """Download `version` into `folder`, check it against its manifest, and open it.

    Raises:
        RegistryError: its files cannot be fetched.
        ModelRefusedError: it has no manifest, a file is not the registered one, or it cannot run.
    """
    registry.download(version, folder)
    manifest = read_manifest(folder, version.tags.get(DIGEST_TAG))
    if manifest is None:
        raise ModelRefusedError(f"It has no {FILE_NAME}, so its files cannot be checked.")
    verify_files(folder, manifest)
    return open_model(folder)
