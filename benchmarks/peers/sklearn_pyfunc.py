"""The small model without ONNX: scikit-learn prepares the columns, numpy does the network.

The form in which MLflow serves a network that was not exported as one graph.
"""

from __future__ import annotations

from typing import Any

import joblib
import mlflow.pyfunc
import numpy as np
from mlflow.models import set_model


class SklearnPyfunc(mlflow.pyfunc.PythonModel):
    """Answers a DataFrame with the network's probabilities."""

    def load_context(self, context: Any) -> None:
        """Read the fitted ColumnTransformer and the weights."""
        self._columns = joblib.load(context.artifacts["columns"])
        with np.load(context.artifacts["weights"]) as weights:
            self._layers = [(weights[f"w{i}"], weights[f"b{i}"]) for i in range(len(weights) // 2)]

    def predict(self, context, model_input, params=None):  # noqa: ANN001, ANN201, ARG002
        """One probability a row."""
        values = np.asarray(self._columns.transform(model_input), dtype=np.float32)
        for weight, bias in self._layers[:-1]:
            values = values @ weight + bias
            values = values / (1 + np.exp(-values))
        weight, bias = self._layers[-1]
        return (1 / (1 + np.exp(-(values @ weight + bias)))).ravel()


set_model(SklearnPyfunc())
