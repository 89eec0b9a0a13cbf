"""The interface between the platform and a project: what a fork implements.

A configuration names a Python package (`project: fraud_detector`); that package's `PROJECT` is a
`Project`. The platform calls it in the order of the fields below and knows nothing else of it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import polars as pl

from modelyard.config import Frozen
from modelyard.contract import Contract
from modelyard.errors import ConfigError

Columns = Mapping[str, np.ndarray]
"""Feature name → 1-D array [n]: float64, int64, bool, or object for strings."""


@dataclass(frozen=True)
class Split:
    """Rows to learn from, to stop by, and to judge by; no row is in two of them."""

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame


class Predictor(Protocol):
    """Something fitted that predicts."""

    def predict(self, columns: Columns) -> np.ndarray:
        """Predictions [n], or [n, classes] for class probabilities."""
        ...


class FittedModel(Predictor, Protocol):
    """A fitted model that can be exported."""

    def to_onnx(self) -> onnx.ModelProto:
        """One graph: an input [n] for each feature under its name, the contract's output [n]."""
        ...


class EpochLog(Protocol):
    """Where a fit reports each epoch; the platform shows it live in MLflow and on the terminal."""

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report `metrics` of the finished `epoch`, counted from 1."""
        ...


@dataclass(frozen=True)
class Project:
    """All that the platform needs of a project.

    Attributes:
        contract: columns, types and ranges in and the meaning of what comes out.
        target: name of the label's column.
        fit_config: typed model of the configuration's `fit` section.
        load: reads the dataset file.
        split: divides the rows; must not depend on their order or number.
        fit: fits the model; gets the split, the `fit` section, a seed and where to report epochs.
        baseline: fits the simple model that the network has to beat.
        generate: writes the deterministic demo dataset, for projects that have one.
        best_scores: scores that no model can beat, for synthetic data that knows them.
    """

    contract: Contract
    target: str
    fit_config: type[Frozen]
    load: Callable[[Path], pl.DataFrame]
    split: Callable[[pl.DataFrame], Split]
    fit: Callable[[Split, Any, int, EpochLog], FittedModel]
    baseline: Callable[[pl.DataFrame, int], Predictor]
    generate: Callable[[Path], None] | None = None
    best_scores: Callable[[pl.DataFrame], np.ndarray] | None = None

    def columns(self, data: pl.DataFrame) -> Columns:
        """The features of `data` as the arrays that models and serving use."""
        return {
            feature.name: data[feature.name].to_numpy().astype(feature.type.dtype, copy=False)
            for feature in self.contract.features
        }


def find_project(name: str) -> Project:
    """The `PROJECT` of the package called `name`.

    Raises:
        ConfigError: no such package, or it has no `PROJECT`.
    """
    if not name.isidentifier() or importlib.util.find_spec(name) is None:
        raise ConfigError(
            f'project: there is no Python package "{name}".',
            fix="A project is a package under src/ with a PROJECT, as src/fraud_detector has it.",
        )
    project = getattr(importlib.import_module(name), "PROJECT", None)
    if not isinstance(project, Project):
        raise ConfigError(f"project: {name}.PROJECT must be a modelyard Project.")
    return project
