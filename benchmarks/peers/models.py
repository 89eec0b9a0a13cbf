"""How a peer that runs the user's own code would best run each model: rows in, floats out.

`open_model(kind, path)`: `onnx` asks onnxruntime, `forest` scikit-learn, `pyfunc` MLflow.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

Rows = Sequence[dict[str, Any]]
Model = Callable[[Rows], list[float]]

_COLUMNS = {"amount": "float64", "merchant_category": "object", "hour": "int64"}


def open_model(kind: str, path: str) -> Model:
    """The model at `path` as a function."""
    warnings.simplefilter("ignore")
    return {"onnx": _onnx, "forest": _forest, "pyfunc": _pyfunc}[kind](path)


def _onnx(path: str) -> Model:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def predict(rows: Rows) -> list[float]:
        feed = {n: np.array([row[n] for row in rows], dtype) for n, dtype in _COLUMNS.items()}
        answer: list[float] = session.run(None, feed)[0].tolist()
        return answer

    return predict


def _forest(path: str) -> Model:
    import joblib

    pipeline = joblib.load(path)

    def predict(rows: Rows) -> list[float]:
        answer: list[float] = pipeline.predict_proba(_table(rows))[:, 1].tolist()
        return answer

    return predict


def _pyfunc(path: str) -> Model:
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(path)

    def predict(rows: Rows) -> list[float]:
        answer: list[float] = model.predict(_table(rows)).tolist()
        return answer

    return predict


def _table(rows: Rows) -> Any:
    import pandas as pd

    return pd.DataFrame(
        {n: pd.Series([row[n] for row in rows], dtype=d) for n, d in _COLUMNS.items()}
    )
