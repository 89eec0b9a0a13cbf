"""A model version loaded through MLflow, in the child: columns in, numbers out.

MLflow, pandas and what a model needs are imported by name: the rule that keeps them out of the
serving process reads import statements, and this module is a child's alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.scoring.child.vocabulary import known_strings
from modelyard.scoring.child.wire import LONGEST_NUMBER_BYTES, Bind
from modelyard.scoring.column import Array

_NUMBERS = "biuf"


class ChildModel:
    """One loaded version.

    A model with `predict_proba`, and any scikit-learn model, is asked itself and not through
    pyfunc: pyfunc would answer labels, and spends more on checking columns, which were checked
    already, than most models on predicting.
    """

    def __init__(self, folder: Path) -> None:
        """Load the version whose files are in `folder`; raises whatever its loading raises."""
        warnings.simplefilter("ignore")
        pyfunc = import_module("mlflow.pyfunc")
        self._pandas = import_module("pandas")
        self._model = pyfunc.load_model(os.fspath(folder), suppress_warnings=True)
        flavors = [name for name in self._model.metadata.flavors if name != "python_function"]
        self._raw = _raw(self._model)
        self._is_sklearn = "sklearn" in flavors
        if self._is_sklearn:
            _use_one_thread(self._raw)
        self.description = f"{flavors[0] if flavors else 'pyfunc'}, loaded by MLflow"
        self.classes = _classes(self._raw)
        # what scikit-learn, and what follows its conventions, calls a classifier
        self.only_labels = not self.classes and (
            getattr(self._raw, "_estimator_type", "") == "classifier"
            or hasattr(self._raw, "classes_")
        )
        self.samples = known_strings(self._raw) if self._is_sklearn else {}
        self._bound: Bind | None = None
        self._wants_matrix = False

    def bind(self, bind: Bind) -> None:
        """Expect the columns that `bind` names."""
        self._bound = bind
        numeric = all(np.dtype(name).kind in _NUMBERS for name in bind.dtypes)
        nameless = self._is_sklearn and getattr(self._raw, "feature_names_in_", None) is None
        self._wants_matrix = bool(bind.matrix_dtype) or (nameless and numeric)

    def predict(self, columns: Sequence[Array], rows: int) -> Array:
        """Predictions for `rows` rows: [rows], or [rows, k].

        Raises:
            Exception: whatever the model raises; ValueError when it answers no numbers.
        """
        assert self._bound is not None  # bound before the first question
        plan = zip(columns, self._bound.dtypes, strict=True)
        table = self._table([column.astype(dtype, copy=False) for column, dtype in plan], rows)
        if self._bound.class_order:
            probabilities = _numbers(self._raw.predict_proba(table))
            return probabilities[:, self._bound.class_order]
        if self._is_sklearn:
            return _numbers(self._raw.predict(table))
        return _numbers(self._model.predict(table))

    def _table(self, columns: Sequence[Array], rows: int) -> Any:
        assert self._bound is not None
        if self._wants_matrix:
            matrix: Array = np.column_stack(columns)
            return matrix.astype(self._bound.matrix_dtype or matrix.dtype, copy=False)
        return self._pandas.DataFrame(
            dict(zip(self._bound.names, columns, strict=True)), index=self._pandas.RangeIndex(rows)
        )


def _raw(model: Any) -> Any:
    """The model behind the flavor's wrapper, where the wrapper gives it."""
    try:
        return model.get_raw_model()
    except NotImplementedError:
        return None


def _classes(raw: Any) -> list[str]:
    """Labels of a classifier with probabilities, in the order of their columns."""
    if not hasattr(raw, "predict_proba"):
        return []
    classes = getattr(raw, "classes_", None)
    # a model of several answers has a list of arrays here
    return [str(c) for c in classes] if isinstance(classes, np.ndarray) else []


def _use_one_thread(estimator: Any) -> None:
    """Threads within a prediction cost a small batch more than they save; more children help."""
    wished = {
        name: 1
        for name, value in estimator.get_params(deep=True).items()
        if name.split("__")[-1] == "n_jobs" and value not in (None, 1)
    }
    if wished:
        estimator.set_params(**wished)


def _numbers(answer: Any) -> Array:
    """What a model answered, as an array of numbers; a DataFrame of one column is that column.

    Text is refused, also text that could be read as a number: it is another answer.
    """
    try:
        numbers: Array = np.asarray(answer)
    except ValueError as error:  # lists of different lengths
        raise _no_numbers(answer, "of rows that differ in shape") from error
    if numbers.ndim == 0:
        raise _no_numbers(answer)
    if numbers.dtype.kind == "O":
        if texts := [value for value in numbers.flat if isinstance(value, str | bytes)]:
            raise _no_numbers(answer, f"of {type(texts[0]).__name__}")
        try:
            numbers = numbers.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise _no_numbers(answer, f"of {type(numbers.flat[0]).__name__}") from error
    if numbers.dtype.kind not in _NUMBERS:
        raise _no_numbers(answer, f"of {numbers.dtype}")
    if numbers.dtype.itemsize > LONGEST_NUMBER_BYTES:
        numbers = numbers.astype(np.float64)
    return numbers


def _no_numbers(answer: Any, of: str = "") -> ValueError:
    kind = "nothing" if answer is None else f"a {type(answer).__name__} {of}".strip()
    return ValueError(f"the model answers {kind}, expected an array of numbers, one for each row")
