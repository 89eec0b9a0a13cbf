"""What a model answered, as predictions: one rule of shapes for every kind of model."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelyard.contract import Output, OutputKind
from modelyard.scoring.runner import Predictions, RunnerError

_TWO_CLASSES = 2


def as_predictions(answer: Any, rows: int, output: Output) -> Predictions:
    """`answer` as one prediction a row: [rows], or [rows, classes] for class probabilities.

    Of two columns of probabilities the second one is the probability.

    Raises:
        RunnerError: its shape is no such thing.
    """
    shape = np.shape(answer)
    if output.kind is OutputKind.CLASS_PROBABILITIES:
        if shape == (rows, len(output.classes)):
            return np.asarray(answer)
    elif shape in ((rows,), (rows, 1)):
        return np.reshape(answer, rows)
    elif output.kind is OutputKind.PROBABILITY and shape == (rows, _TWO_CLASSES):
        return np.asarray(answer[:, 1])
    raise RunnerError(
        f"the model answered {rows} rows with the shape {list(shape)}, which is no "
        f"{output.kind.value.replace('_', ' ')} a row"
    )
