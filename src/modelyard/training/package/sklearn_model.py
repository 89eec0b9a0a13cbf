"""A scikit-learn pipeline as a fitted model of a project: what `fit` or `baseline` may return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from sklearn.base import BaseEstimator

from modelyard.contract import Contract, OutputKind
from modelyard.errors import ContractError
from modelyard.scoring.column import Columns


class SklearnModel:
    """A pipeline fitted on a DataFrame that has the contract's features as its columns.

    It is compiled to ONNX when it is packaged, and packaged as it is when no graph agrees with it
    on the test set.

    Args:
        pipeline: a fitted classifier (with `predict_proba`) or regressor.
        contract: its output's kind says what is predicted.

    Raises:
        ContractError: the pipeline's classes are not the contract's.
    """

    def __init__(self, pipeline: BaseEstimator, contract: Contract) -> None:
        self.pipeline: Any = pipeline
        self.contract = contract
        self.order = _class_order(pipeline, contract)

    def predict(self, columns: Columns) -> np.ndarray:
        """Predictions [n], or [n, classes] in the order of the contract's classes."""
        table = feature_table(columns, self.contract)
        match self.contract.output.kind:
            case OutputKind.VALUE:
                answer = self.pipeline.predict(table)
            case OutputKind.PROBABILITY:
                answer = self.pipeline.predict_proba(table)[:, self.order[1]]
            case OutputKind.CLASS_PROBABILITIES:
                answer = self.pipeline.predict_proba(table)[:, self.order]
        return np.asarray(answer)


def feature_table(data: Columns | pl.DataFrame, contract: Contract) -> pd.DataFrame:
    """The contract's features of `data`, in its order, as scikit-learn pipelines take them."""
    columns: Mapping[str, Any] = data if isinstance(data, Mapping) else data.to_dict()
    return pd.DataFrame(
        {
            feature.name: np.asarray(columns[feature.name]).astype(feature.type.dtype, copy=False)
            for feature in contract.features
        }
    )


def _class_order(pipeline: Any, contract: Contract) -> list[int]:
    """Column of `predict_proba` for each class of the contract; for a probability: no, yes."""
    if contract.output.kind is OutputKind.VALUE:
        return []
    found = [str(name) for name in getattr(pipeline, "classes_", [])]
    if contract.output.kind is OutputKind.PROBABILITY:
        for names in (["0", "1"], ["False", "True"]):
            if found == names:
                return [0, 1]
        raise ContractError(
            "The contract's output is a probability: expected the classes 0 and 1, found "
            f"{', '.join(found) or 'none'}."
        )
    wanted = list(contract.output.classes)
    if found == [str(index) for index in range(len(wanted))]:
        return list(range(len(wanted)))
    if sorted(found) != sorted(wanted):
        raise ContractError(
            f"The contract names the classes {', '.join(wanted)}; the classifier knows "
            f"{', '.join(found) or 'none'}.",
            fix="Is every class among the training rows?",
        )
    return [found.index(name) for name in wanted]
