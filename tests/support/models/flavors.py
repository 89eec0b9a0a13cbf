"""Models of other flavors than ONNX, registered by MLflow's own `log_model`."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import mlflow.pytorch
import mlflow.sklearn
import numpy as np
import pandas as pd
import torch
from mlflow.models import ModelSignature, infer_signature
from mlflow.tracking import MlflowClient
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

TREES = ["sklearn.tree._tree.Tree"]
CATEGORIES = ["books", "electronics", "groceries"]


def frame(rows: int, seed: int = 0) -> pd.DataFrame:
    """Rows with a number, a category and an integer."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "amount": random.gamma(2.0, 60.0, rows),
            "merchant_category": random.choice(CATEGORIES, rows),
            "hour": random.integers(0, 24, rows),
        }
    )


def label(data: pd.DataFrame) -> np.ndarray:
    return ((data["amount"] > 120) & (data["hour"] > 11)).astype(int).to_numpy()


def pipeline(model: Any) -> Any:
    """`model` behind scaled numbers and a one-hot category, fitted."""
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["amount", "hour"]),
            ("category", OneHotEncoder(), ["merchant_category"]),
        ]
    )
    data = frame(3000)
    return make_pipeline(columns, model).fit(data, label(data))


def forest() -> Any:
    return pipeline(RandomForestClassifier(60, n_jobs=-1, random_state=1))


def log_sklearn(url: str, name: str, model: Any, data: pd.DataFrame) -> str:
    """Register `model` as MLflow does it by default; the version."""
    return log(
        url,
        name,
        lambda: mlflow.sklearn.log_model(
            model,
            name="model",
            registered_model_name=name,
            signature=infer_signature(data),
            input_example=data.head(1),
            pip_requirements=["scikit-learn"],
            skops_trusted_types=TREES,
        ),
    )


def log(url: str, name: str, write: Any) -> str:
    """Call `write` in a run; the version that it registers."""
    mlflow.set_tracking_uri(url)
    mlflow.set_experiment("flavors")
    with mlflow.start_run():
        write()
    versions = MlflowClient(url).search_model_versions(f"name = '{name}'")
    return str(max(int(version.version) for version in versions))


@dataclass(frozen=True)
class Case:
    """One model: how it is registered, what it is asked, what it has to answer."""

    register: Any
    asked: pd.DataFrame
    expected: np.ndarray
    kind: str


def logistic_regression() -> Case:
    model, asked = pipeline(LogisticRegression()), frame(200, 7)
    expected = model.predict_proba(asked)[:, 1]
    return Case(lambda u, n: log_sklearn(u, n, model, frame(5)), asked, expected, "probability")


def forest_of_arrays() -> Case:
    """Fitted on an array: it knows no names of columns; integers arrive where it wants floats."""
    data = frame(2000)[["amount", "hour"]].astype(float)
    model = RandomForestClassifier(40, random_state=2).fit(data.to_numpy(), label(frame(2000)))
    asked = frame(200, 8)[["amount", "hour"]]
    expected = model.predict_proba(asked.to_numpy().astype(float))[:, 1]
    return Case(lambda u, n: log_sklearn(u, n, model, data), asked, expected, "probability")


def regressor() -> Case:
    data = frame(2000)
    features = data[["amount", "hour"]]
    model = RandomForestRegressor(20, random_state=3).fit(features, data["amount"] * 2)
    asked = frame(100, 9)[["amount", "hour"]]
    register = lambda u, n: log_sklearn(u, n, model, features)  # noqa: E731
    return Case(register, asked, model.predict(asked), "value")


def three_classes() -> Case:
    data = frame(2000)
    model = LogisticRegression(max_iter=2000).fit(
        data[["amount", "hour"]], data["merchant_category"]
    )
    asked = frame(100, 10)[["amount", "hour"]]
    register = lambda u, n: log_sklearn(u, n, model, data[["amount", "hour"]])  # noqa: E731
    return Case(register, asked, model.predict_proba(asked), "class_probabilities")


def torch_network() -> Case:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    asked = frame(100, 11)[["amount", "hour"]].astype({"amount": "float32", "hour": "float32"})
    with torch.inference_mode():
        expected = network(torch.from_numpy(asked.to_numpy())).numpy()[:, 0]
    signature = infer_signature(asked, expected.reshape(-1, 1))

    def register(url: str, name: str) -> str:
        return log(
            url,
            name,
            lambda: mlflow.pytorch.log_model(
                network,
                name="model",
                registered_model_name=name,
                signature=signature,
                serialization_format="pickle",
                pip_requirements=["torch"],
            ),
        )

    return Case(register, asked, expected, "value")


CODE = """
import mlflow
from own_rules import surcharge

class Rules(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["amount"] * 2 + surcharge(model_input["hour"])

mlflow.models.set_model(Rules())
"""
RULES = "def surcharge(hour):\n    return (hour > 20) * 5.0\n"


def python_code() -> Case:
    """A PythonModel written as code, with a module of its own."""
    asked = frame(50, 12)[["amount", "hour"]]
    expected = (asked["amount"] * 2 + (asked["hour"] > 20) * 5.0).to_numpy()

    def register(url: str, name: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "model.py").write_text(CODE)
            (Path(folder) / "own_rules.py").write_text(RULES)
            sys.path.insert(0, folder)  # MLflow runs the code once when it is logged
            inputs = infer_signature(asked).inputs
            return log(
                url,
                name,
                lambda: mlflow.pyfunc.log_model(
                    name="model",
                    registered_model_name=name,
                    python_model=str(Path(folder) / "model.py"),
                    code_paths=[str(Path(folder) / "own_rules.py")],
                    signature=ModelSignature(inputs=inputs),
                    pip_requirements=["mlflow-skinny"],
                ),
            )

    return Case(register, asked, expected, "value")


def forest_pipeline() -> Case:
    model, asked = forest(), frame(2000, 13)
    expected = model.set_params(randomforestclassifier__n_jobs=1).predict_proba(asked)[:, 1]
    return Case(lambda u, n: log_sklearn(u, n, model, frame(5)), asked, expected, "probability")


CASES = {
    "logistic regression": logistic_regression,
    "forest in a pipeline": forest_pipeline,
    "forest of arrays": forest_of_arrays,
    "regressor": regressor,
    "three classes": three_classes,
    "torch network": torch_network,
    "python code": python_code,
}
