"""The small network in the form of `peers/sklearn_pyfunc.py`: a ColumnTransformer and matrices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from fraud_detector.contract import MERCHANT_CATEGORIES
from fraud_detector.model import HOURS


def write(folder: Path, model: Any) -> dict[str, str]:
    """Write what the pyfunc needs of a fitted fraud model; artifact → file."""
    network = model._network  # noqa: SLF001 - only this form needs its weights
    state = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    state = {name.removeprefix("network."): value for name, value in state.items()}
    paths = {"columns": folder / "columns.joblib", "weights": folder / "weights.npz"}
    scaler = StandardScaler()
    columns = ColumnTransformer(
        [
            ("amount", make_pipeline(FunctionTransformer(np.log1p), scaler), ["amount"]),
            (
                "category",
                OneHotEncoder(categories=[list(MERCHANT_CATEGORIES)]),
                ["merchant_category"],
            ),
            ("hour", OneHotEncoder(categories=[list(range(HOURS))]), ["hour"]),
        ],
        sparse_threshold=0,
    )
    columns.fit(
        pd.DataFrame({"amount": [1.0, 2.0], "merchant_category": ["fuel", "home"], "hour": [1, 2]})
    )
    fitted = columns.named_transformers_["amount"].steps[-1][1]
    fitted.mean_ = np.array([float(state["log_mean"])])
    fitted.scale_ = np.array([float(state["log_deviation"])])
    joblib.dump(columns, paths["columns"])
    np.savez(paths["weights"], **_matrices(state))
    return {name: str(path) for name, path in paths.items()}


def _matrices(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights and biases by layer; the embeddings become rows of the first one."""
    numbers = sorted({int(name.split(".")[1]) for name in state if name.startswith("layers.")})
    weights = [state[f"layers.{number}.weight"].T for number in numbers]
    biases = [state[f"layers.{number}.bias"] for number in numbers]
    width = state["category.weight"].shape[1]
    first = weights[0]
    weights[0] = np.vstack(
        [
            first[:1],
            state["category.weight"] @ first[1 : 1 + width],
            state["hour.weight"] @ first[1 + width :],
        ]
    )
    named = {f"w{i}": weight for i, weight in enumerate(weights)}
    return named | {f"b{i}": bias for i, bias in enumerate(biases)}
