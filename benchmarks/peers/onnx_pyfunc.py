"""The small model as an MLflow pyfunc, in MLflow's models-from-code form.

`mlflow.onnx`'s own pyfunc cannot take pandas 3 strings, so this asks onnxruntime directly: what
somebody who serves the graph through MLflow would write, and faster than any flavor's wrapper.
"""

from __future__ import annotations

from typing import Any

import mlflow.pyfunc
import numpy as np
import onnxruntime as ort
from mlflow.models import set_model

_DTYPES = {"tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(string)": object}


class OnnxPyfunc(mlflow.pyfunc.PythonModel):
    """Answers a DataFrame with the graph's probabilities."""

    def load_context(self, context: Any) -> None:
        """Open the graph among the model's artifacts."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = context.artifacts["graph"]
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._dtypes = {tensor.name: _DTYPES[tensor.type] for tensor in self._session.get_inputs()}

    def predict(self, context, model_input, params=None):  # noqa: ANN001, ANN201, ARG002
        """One probability a row."""
        feed = {
            name: model_input[name].to_numpy(dtype=dtype) for name, dtype in self._dtypes.items()
        }
        answer: np.ndarray = self._session.run(None, feed)[0]
        return answer


set_model(OnnxPyfunc())
