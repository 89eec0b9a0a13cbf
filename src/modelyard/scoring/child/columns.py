"""How a contract's columns reach a model: in the order, and of the types, of its signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard.bounded_json import parse_json
from modelyard.contract import Contract, Feature, FeatureType, OutputKind
from modelyard.errors import ConfigError, ModelRefusedError
from modelyard.scoring.child.wire import Bind, Loaded

_DTYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "object",
}
_INT32 = np.iinfo(np.int32)
_TWO_CLASSES = 2


def plan(contract: Contract, mlmodel: Mapping[str, Any], loaded: Loaded) -> Bind:
    """How the child gets the columns of `contract`.

    Raises:
        ModelRefusedError: the signature, or the model's classes, do not fit the contract.
    """
    names, dtypes, matrix_dtype = _columns(contract, _inputs(mlmodel))
    return Bind(names, dtypes, matrix_dtype, _class_order(contract, loaded))


def _inputs(mlmodel: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The signature's inputs; empty when there is none."""
    try:
        inputs = parse_json(mlmodel["signature"]["inputs"], "The signature")
    except (ConfigError, KeyError, TypeError):
        return ()
    return inputs if isinstance(inputs, list) and all(isinstance(i, dict) for i in inputs) else ()


def _columns(
    contract: Contract, inputs: Sequence[Mapping[str, Any]]
) -> tuple[list[str], list[str], str]:
    """Names, their dtypes, and the dtype of the matrix that the model takes, or an empty string."""
    if not inputs:
        return list(contract.names), [feature.type.dtype for feature in contract.features], ""
    if len(inputs) == 1 and inputs[0].get("type") == "tensor":
        return _matrix(contract, inputs[0])
    wanted = {i.get("name"): str(i.get("type")) for i in inputs}
    needed = {i.get("name") for i in inputs if i.get("required", True)}
    if not needed <= set(contract.names) <= set(wanted):
        raise ModelRefusedError(
            "The MLflow signature does not fit the contract: expected the columns "
            f"{', '.join(contract.names)}; found {', '.join(map(str, wanted))}."
        )
    names = [str(name) for name in wanted if name in contract.names]
    return names, [_dtype(contract.feature(name), wanted[name]) for name in names], ""


def _matrix(contract: Contract, tensor: Mapping[str, Any]) -> tuple[list[str], list[str], str]:
    spec = tensor.get("tensor-spec") or {}
    dtype, shape = str(spec.get("dtype")), list(spec.get("shape") or [])
    width = len(contract.names)
    if shape not in ([-1, width], [-1, -1]) or dtype not in ("float32", "float64", "int64"):
        raise ModelRefusedError(
            f"The MLflow signature wants a tensor of {dtype} with the shape {shape}; the contract "
            f"has {width} features, expected [-1, {width}] of numbers."
        )
    for feature in contract.features:
        _check(feature, dtype, "tensor")
    return list(contract.names), [f.type.dtype for f in contract.features], dtype


def _dtype(feature: Feature, kind: str) -> str:
    dtype = _DTYPES.get(kind, "")
    _check(feature, dtype, kind)
    return dtype


def _check(feature: Feature, dtype: str, kind: str) -> None:
    """Refuse a column that cannot hold every value that the contract lets through."""
    if not dtype or not _fits(feature, np.dtype(dtype)):
        raise ModelRefusedError(
            f"The feature {feature.name} is a {feature.type.value} in the contract and a {kind} "
            "in the MLflow signature, which cannot take it."
        )


def _fits(feature: Feature, dtype: np.dtype[Any]) -> bool:
    match feature.type:
        case FeatureType.STRING | FeatureType.CATEGORY:
            return dtype.kind == "O"
        case FeatureType.NUMBER:
            return dtype.kind == "f"
        case FeatureType.BOOLEAN:
            return dtype.kind in "bfi"
        case FeatureType.INTEGER:
            limited = (
                feature.minimum is not None
                and feature.maximum is not None
                and _INT32.min <= feature.minimum
                and feature.maximum <= _INT32.max
            )
            return dtype.kind == "f" or dtype == np.int64 or (dtype == np.int32 and limited)


def _class_order(contract: Contract, loaded: Loaded) -> list[int]:
    """Columns of the model's probabilities, as the contract names its classes."""
    output, found = contract.output, loaded.classes
    if output.kind is OutputKind.VALUE:
        return []
    if not found:
        if loaded.only_labels:
            raise ModelRefusedError(
                "The contract promises probabilities, and the model is a classifier that answers "
                "labels only.",
                fix="Fit one that has predict_proba, for example with CalibratedClassifierCV.",
            )
        return []
    if output.kind is OutputKind.PROBABILITY:
        if len(found) == _TWO_CLASSES:
            return [1]
    elif set(found) == set(output.classes) and len(found) == len(output.classes):
        return [found.index(name) for name in output.classes]
    elif found == [str(i) for i in range(len(output.classes))]:
        return list(range(len(found)))
    raise ModelRefusedError(
        f"The contract promises {output.kind.value.replace('_', ' ')}"
        f"{' of ' + ', '.join(output.classes) if output.classes else ''}; the model has the "
        f"classes {', '.join(found[:20])}."
    )
