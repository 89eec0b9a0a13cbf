"""What a signature says that a model answers: one number a row is served, all else is refused.

It is read for models whose own prediction is the answer. A classifier that is asked for
probabilities says by its classes what it answers, and a contract of the version's own is held to
on trial.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard.errors import ModelRefusedError

_NUMBERS = ("boolean", "integer", "long", "float", "double")
_LISTED = 10
_SEVERAL_FIX = (
    "Register one model for each, or a model that joins them into one number (mlflow.pyfunc)."
)
_LABELS_FIX = (
    "Fit a classifier that has predict_proba, for example with CalibratedClassifierCV, or let it "
    "answer numbers."
)
_TEXT_FIX = "Let the model answer numbers."


def check_outputs(mlmodel: Mapping[str, Any], *, only_labels: bool) -> None:
    """Refuse a model whose signature promises anything but one number for each row.

    A signature that says nothing of outputs, or nothing that can be read, is none: the trial finds
    out what the model answers.

    Args:
        mlmodel: the version's MLmodel.
        only_labels: whether it is a classifier without probabilities.

    Raises:
        ModelRefusedError: names what the signature says, and what helps.
    """
    outputs = _outputs(mlmodel)
    if len(outputs) > 1:
        listed = ", ".join(str(one.get("name", one.get("type"))) for one in outputs[:_LISTED])
        listed += ", …" if len(outputs) > _LISTED else ""
        raise _refusal(f"{len(outputs)} columns ({listed})", _SEVERAL_FIX)
    for output in outputs:
        if output.get("type") == "tensor":
            _check_tensor(output.get("tensor-spec"), only_labels=only_labels)
        elif (kind := str(output.get("type"))) not in _NUMBERS:
            raise _refusal(f"values of the type {kind}", _fix(only_labels=only_labels))


def _check_tensor(spec: Any, *, only_labels: bool) -> None:
    if not isinstance(spec, dict):
        return
    name, shape = str(spec.get("dtype")), spec.get("shape")
    try:
        is_number = np.dtype(name).kind in "biuf"
    except TypeError:
        is_number = False
    if not is_number:
        raise _refusal(f"a tensor of {name}", _fix(only_labels=only_labels))
    if isinstance(shape, list) and any(size not in (-1, 1) for size in shape[1:]):
        raise _refusal(f"a tensor of the shape {shape}", _SEVERAL_FIX)


def _outputs(mlmodel: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    try:
        outputs = json.loads(mlmodel["signature"]["outputs"])
    except (KeyError, TypeError, ValueError):
        return ()
    return (
        outputs if isinstance(outputs, list) and all(isinstance(o, dict) for o in outputs) else ()
    )


def _fix(*, only_labels: bool) -> str:
    return _LABELS_FIX if only_labels else _TEXT_FIX


def _refusal(found: str, fix: str) -> ModelRefusedError:
    return ModelRefusedError(
        "By its MLflow signature the model answers "
        f"{found}; expected one number for each row, as nothing else is served yet.",
        fix=fix,
    )
