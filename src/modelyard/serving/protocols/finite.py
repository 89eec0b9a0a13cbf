"""Predictions that are not finite numbers: no answer, whatever the protocol."""

from __future__ import annotations

import numpy as np

from modelyard.scoring.runner import Predictions
from modelyard.serving.problem import Problem

_LISTED_ROWS = 200


def check_finite(predictions: Predictions) -> None:
    """Refuse NaN and infinities with the 422 `Problem` that names their rows."""
    if not np.isfinite(predictions).all():
        raise not_finite(predictions)


def not_finite(predictions: Predictions) -> Problem:
    """The answer to predictions some of which are not finite."""
    finite = np.isfinite(predictions.reshape(len(predictions), -1)).all(axis=1)
    rows = np.flatnonzero(~finite)[:_LISTED_ROWS].tolist()
    message = "the model has no finite answer for this row"
    return Problem(
        "no-finite-answer",
        422,
        "The model has no answer for this input",
        "The input keeps the contract, and the model's answer is not a finite number.",
        errors=[{"loc": ["body", row], "msg": message} for row in rows],
    )
