"""The interface between the platform and a project: what a fork implements.

A configuration names a Python package (`project: fraud_detector`), whose `PROJECT` is a `Project`.
That is all that the platform knows of it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import onnx
import polars as pl
from pydantic import ValidationError

from modelyard.config import Frozen, explain
from modelyard.contract import Contract
from modelyard.errors import ConfigError
from modelyard.scoring.column import Columns

if TYPE_CHECKING:
    from modelyard.training.tensors import RowSource, Tensors  # torch, which not all projects use


@dataclass(frozen=True)
class Split:
    """Rows to learn from, to stop by, and to test by; no row is in two of them."""

    train: pl.DataFrame
    validation: pl.DataFrame
    test: pl.DataFrame


class StreamedRows(Protocol):
    """Rows that do not fit in memory, to pass over as often as needed."""

    def __len__(self) -> int:
        """Rows in one pass."""
        ...

    def frames(self, rows: int | None = None, epoch: int = 0) -> Iterator[pl.DataFrame]:
        """One pass over all rows, in frames of at most `rows` rows.

        Args:
            epoch: 0 for the order of the files; each other number has its own order.
        """
        ...

    def tensors(self, of: Callable[[pl.DataFrame], Tensors]) -> RowSource:
        """The same rows as what `fit_network` takes; `of` makes tensors of one frame."""
        ...


@dataclass(frozen=True)
class StreamedSplit:
    """A split whose rows do not fit in memory.

    Attributes:
        train: the rows to learn from.
        sample: bounded samples of all three parts, in memory; small parts are whole.
        rows: how many rows each part has: train, validation, test.
    """

    train: StreamedRows
    sample: Split
    rows: Mapping[str, int]

    @property
    def validation(self) -> pl.DataFrame:
        """The rows to stop by."""
        return self.sample.validation


@dataclass(frozen=True)
class DataRules:
    """Rules of a dataset beyond the contract's features.

    Attributes:
        row_key: columns that identify a row; no two rows may share their values.
        split_key: columns whose values may not be in two parts of the split: a customer, a device.
        label_rate: lowest and highest share of positive labels, where the label is 0 or 1.
    """

    row_key: tuple[str, ...] = ()
    split_key: tuple[str, ...] = ()
    label_rate: tuple[float, float] = (0.0, 1.0)


class Predictor(Protocol):
    """Something fitted that predicts."""

    def predict(self, columns: Columns) -> np.ndarray:
        """Predictions [n], or [n, classes] for class probabilities."""
        ...


@runtime_checkable
class FittedModel(Predictor, Protocol):
    """A fitted model that exports itself."""

    def to_onnx(self) -> onnx.ModelProto:
        """One graph: for each feature an input [n] of its name, and the contract's output [n]."""
        ...


class EpochLog(Protocol):
    """Where a fit reports each epoch; the platform shows it live in MLflow and on the terminal."""

    def __call__(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Report `metrics` of the finished `epoch`, counted from 1."""
        ...


def ignore_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
    """An `EpochLog` that does nothing."""


def ignore_progress(share: float) -> None:
    """Progress that is not shown."""


class Checkpoints(Protocol):
    """Where a fit keeps its state, to resume from after an interruption."""

    def load(self) -> Mapping[str, Any] | None:
        """The state to resume from; None to start from the beginning."""
        ...

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep `state`, tensors and plain values, in place of the one before."""
        ...


@dataclass(frozen=True)
class FitContext:
    """What a fit may use of the platform.

    Attributes:
        seed: of everything that is random.
        report: to be called after each epoch.
        progress: may be called at any time with the share (0 to 1) that is done.
        checkpoints: None where they cannot be kept.
    """

    seed: int = 0
    report: EpochLog = ignore_epoch
    progress: Callable[[float], None] = ignore_progress
    checkpoints: Checkpoints | None = None


@dataclass(frozen=True)
class Project:
    """All that the platform needs of a project.

    Attributes:
        contract: columns, types and ranges in and the meaning of what comes out.
        target: name of the label's column.
        fit_config: typed model of the configuration's `fit` section.
        load: reads the dataset file.
        split: divides the rows, of a streamed dataset chunk by chunk; must not depend on their
            order or number.
        fit: gets the split, the `fit` section and a context; returns a `FittedModel`, or a
            `SklearnModel`, which the platform exports.
        fit_stream: the same for rows that do not fit in memory, with a `StreamedSplit`; chunks are
            what the Parquet files hold, without `load`. None if the project cannot do it.
        baseline: fits the simple model that the model of `fit` has to beat.
        generate: writes the deterministic demo dataset, for projects that have one.
        best_scores: scores that no model can beat, for synthetic data, whose process is known.
        rules: what the dataset has to keep beyond the contract.
    """

    contract: Contract
    target: str
    fit_config: type[Frozen]
    load: Callable[[Path], pl.DataFrame]
    split: Callable[[pl.DataFrame], Split]
    fit: Callable[[Split, Any, FitContext], Predictor]
    baseline: Callable[[pl.DataFrame, int], Predictor]
    fit_stream: Callable[[StreamedSplit, Any, FitContext], Predictor] | None = None
    generate: Callable[[Path], None] | None = None
    best_scores: Callable[[pl.DataFrame], np.ndarray] | None = None
    rules: DataRules = field(default_factory=DataRules)

    def columns(self, data: pl.DataFrame) -> Columns:
        """The features of `data` as the arrays that models and serving use."""
        return {
            feature.name: data[feature.name].to_numpy().astype(feature.type.dtype, copy=False)
            for feature in self.contract.features
        }


def find_project(name: str) -> Project:
    """The `PROJECT` of the package called `name`.

    Raises:
        ConfigError: no such package, its contract does not hold together, or it has no `PROJECT`.
    """
    if not name.isidentifier() or importlib.util.find_spec(name) is None:
        raise ConfigError(
            f'project: there is no Python package "{name}".',
            fix="A project is a package under src/ with a PROJECT, as src/fraud_detector has it.",
        )
    try:
        project = getattr(importlib.import_module(name), "PROJECT", None)
    except ValidationError as error:
        raise ConfigError(
            f"project: a {error.title} in {name} is not valid:\n{explain(error)}"
        ) from error
    if not isinstance(project, Project):
        raise ConfigError(f"project: {name}.PROJECT must be a modelyard Project.")
    return project
