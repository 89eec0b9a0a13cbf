"""How a contract fits an ONNX graph: which column feeds which input, which output is the answer.

Everything is decided, and refused, when a model is loaded; a prediction only follows the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.errors import ModelRefusedError

STRINGS = "tensor(string)"
_DTYPES = {
    "tensor(double)": "float64",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int16)": "int16",
    "tensor(int8)": "int8",
    "tensor(uint64)": "uint64",
    "tensor(uint32)": "uint32",
    "tensor(uint16)": "uint16",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
    STRINGS: "object",
}
_NUMERIC = (FeatureType.NUMBER, FeatureType.INTEGER, FeatureType.BOOLEAN)
_MATRIX = 2


@dataclass(frozen=True)
class Tensor:
    """An input or output as a session describes it; a dimension that may vary is None."""

    name: str
    type: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        dimensions = ", ".join("n" if d is None else str(d) for d in self.shape)
        return f"{self.name}: {self.type}[{dimensions}]"


@dataclass(frozen=True)
class InputPlan:
    """How one input is fed: `features` are stacked to `[n, k]` when `is_matrix`."""

    name: str
    dtype: np.dtype[np.generic]
    features: tuple[str, ...]
    is_matrix: bool


def plan_inputs(inputs: Sequence[Tensor], contract: Contract) -> list[InputPlan]:
    """A plan for every input of the graph.

    Raises:
        ModelRefusedError: the inputs do not fit the contract's features.
    """
    for tensor in inputs:
        if not tensor.shape or tensor.shape[0] is not None:
            raise ModelRefusedError(
                f"The ONNX input {tensor} takes a fixed number of rows; expected a first dimension "
                "that may vary.",
                fix="Export the model with a dynamic batch dimension.",
            )
    if {t.name for t in inputs} == set(contract.names):
        return [_column(t, contract.feature(t.name)) for t in inputs]
    if len(inputs) == 1 and len(inputs[0].shape) == _MATRIX:
        return [_matrix(inputs[0], contract)]
    raise ModelRefusedError(
        "The ONNX inputs do not fit the contract: expected one for each feature "
        f"({', '.join(contract.names)}), or one [n, {len(contract.names)}] tensor of numbers; "
        f"found {'; '.join(map(str, inputs))}."
    )


def _column(tensor: Tensor, feature: Feature) -> InputPlan:
    if tensor.shape not in ((None,), (None, 1), (None, None)):
        raise ModelRefusedError(
            f"The ONNX input {tensor} does not take one column: expected [n] or [n, 1]."
        )
    dtype = _dtype_for(tensor, feature)
    return InputPlan(tensor.name, dtype, (feature.name,), is_matrix=len(tensor.shape) == _MATRIX)


def _matrix(tensor: Tensor, contract: Contract) -> InputPlan:
    if tensor.shape[1] not in (None, len(contract.names)):
        raise ModelRefusedError(
            f"The ONNX input {tensor} takes {tensor.shape[1]} columns and the contract has "
            f"{len(contract.names)} features."
        )
    for feature in contract.features:
        dtype = _dtype_for(tensor, feature)
    return InputPlan(tensor.name, dtype, contract.names, is_matrix=True)


def _dtype_for(tensor: Tensor, feature: Feature) -> np.dtype[np.generic]:
    """The input's dtype, when it holds every value that the contract lets through."""
    name = _DTYPES.get(tensor.type)
    if name is None:
        raise ModelRefusedError(f"The ONNX input {tensor} has a type that no feature can feed.")
    dtype = np.dtype(name)
    match feature.type:
        case FeatureType.STRING | FeatureType.CATEGORY:
            fits = dtype.kind == "O"
        case FeatureType.NUMBER:
            fits = dtype.kind == "f"
        case FeatureType.INTEGER:
            fits = dtype.kind == "f" or (dtype.kind in "iu" and _holds(dtype, feature))
        case FeatureType.BOOLEAN:
            fits = dtype.kind in "bfiu"
    if not fits:
        limits = " without a range that fits it" if feature.type is FeatureType.INTEGER else ""
        raise ModelRefusedError(
            f"The feature {feature.name} is a {feature.type.value}{limits} in the contract; the "
            f"ONNX input {tensor} cannot take it."
        )
    return dtype


def _holds(dtype: np.dtype[np.generic], feature: Feature) -> bool:
    if dtype == np.int64:
        return True
    limits = np.iinfo(dtype.name)
    return (
        feature.minimum is not None
        and feature.maximum is not None
        and limits.min <= feature.minimum
        and feature.maximum <= limits.max
    )


def choose_output(outputs: Sequence[Tensor], output: Output) -> str:
    """Name of the graph's output that is the prediction.

    It is the one that the contract names; else the only one of floats, or the one of floats that
    is called probabilities; else, for a value, the only one there is.

    Raises:
        ModelRefusedError: none fits, or several do.
    """
    if output.name in {t.name for t in outputs}:
        candidates = [t for t in outputs if t.name == output.name]
    else:
        candidates = [t for t in outputs if _is_float(t)]
        if len(candidates) > 1:
            candidates = [t for t in candidates if "prob" in t.name.lower()]
        if not candidates and output.kind is OutputKind.VALUE:
            candidates = list(outputs)
    if len(candidates) != 1 or _DTYPES.get(candidates[0].type, "object") == "object":
        raise ModelRefusedError(
            f"No ONNX output can be told to be the prediction: expected one of numbers called "
            f"{output.name}, found {'; '.join(map(str, outputs))}.",
            fix="Name it in the contract; export classifiers with zipmap off.",
        )
    return candidates[0].name


def derive_output(outputs: Sequence[Tensor]) -> Output:
    """What a graph without a contract answers, as its outputs tell it.

    A label beside one matrix of floats is a classifier: with two columns its answer is the
    probability of the second class, with more a probability for each.
    """
    floats = [t for t in outputs if _is_float(t)]
    if len(outputs) > 1 and len(floats) == 1 and len(floats[0].shape) == _MATRIX:
        classes = floats[0].shape[1]
        if classes == _MATRIX:
            return Output(name="probability", kind=OutputKind.PROBABILITY)
        if classes is not None and classes > _MATRIX:
            names = tuple(map(str, range(classes)))
            return Output(name="probabilities", kind=OutputKind.CLASS_PROBABILITIES, classes=names)
    return Output()


def _is_float(tensor: Tensor) -> bool:
    return _DTYPES.get(tensor.type, "").startswith("float")
