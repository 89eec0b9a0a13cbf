"""A contract from an MLflow signature, for versions that carry no contract of their own.

A signature knows types only: no range, no category. A row of its input example becomes the
contract's example; without one there is a placeholder until the model has answered another row.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.bounded_json import parse_json, read_json
from modelyard.contract import Contract, Feature, FeatureType, Output, Value
from modelyard.errors import ConfigError, ModelRefusedError

_INT32 = 2**31
_TYPES: dict[str, dict[str, Any]] = {
    "boolean": {"type": FeatureType.BOOLEAN},
    "integer": {"type": FeatureType.INTEGER, "minimum": -_INT32, "maximum": _INT32 - 1},
    "long": {"type": FeatureType.INTEGER},
    "float": {"type": FeatureType.NUMBER},
    "double": {"type": FeatureType.NUMBER},
    "string": {"type": FeatureType.STRING},
}
_EXAMPLE_ROWS = 100
_PLACEHOLDERS: dict[FeatureType, Value] = {
    FeatureType.BOOLEAN: False,
    FeatureType.INTEGER: 0,
    FeatureType.NUMBER: 0.0,
    FeatureType.STRING: "",
}


def derive_contract(
    folder: Path, mlmodel: Mapping[str, Any], output: Output
) -> tuple[Contract, bool]:
    """A contract as the signature in `mlmodel` tells it, and whether its example is a real one.

    Raises:
        ModelRefusedError: there is no signature, or one that says too little.
    """
    features = _features(mlmodel)
    example = _example(folder, mlmodel, features)
    placeholder = {feature.name: _PLACEHOLDERS[feature.type] for feature in features}
    try:
        contract = Contract(
            description="Derived from the model's MLflow signature.",
            features=features,
            output=output,
            example=placeholder if example is None else example,
        )
    except ValueError as error:
        raise ModelRefusedError(
            f"No contract can be made of the MLflow signature: {error}"
        ) from error
    return contract, example is not None


def _features(mlmodel: Mapping[str, Any]) -> tuple[Feature, ...]:
    try:
        columns = parse_json(mlmodel["signature"]["inputs"], "The signature")
        named = [(column["name"], column["type"]) for column in columns]
    except (ConfigError, KeyError, TypeError) as error:
        raise ModelRefusedError(
            "The version carries neither contract.yaml nor an MLflow signature with named columns, "
            "so nothing says what it takes.",
            fix="Register it with a contract, or with a signature (mlflow.models.infer_signature).",
        ) from error
    for name, kind in named:
        if kind not in _TYPES:
            raise ModelRefusedError(
                f'The signature\'s column "{name}" is of the type {kind}; expected one of '
                f"{', '.join(_TYPES)}."
            )
    try:
        return tuple(Feature(name=name, **_TYPES[kind]) for name, kind in named)
    except ValueError as error:
        raise ModelRefusedError(
            "A column of the signature has a name that no feature may have."
        ) from error


def _example(
    folder: Path, mlmodel: Mapping[str, Any], features: tuple[Feature, ...]
) -> dict[str, Value] | None:
    """First row of the input example that keeps the signature; None when none does."""
    try:
        path = folder / Path(mlmodel["saved_input_example_info"]["artifact_path"]).name
        rows = _rows(read_json(path))
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError):
        return None
    for row in rows[:_EXAMPLE_ROWS]:
        try:
            example = {feature.name: row[feature.name] for feature in features}
        except (KeyError, TypeError):
            continue
        # JSON written by pandas may hold NaN, which no feature takes
        if not any(feature.fault(example[feature.name]) for feature in features):
            return example
    return None


def _rows(table: Any) -> list[Any]:
    """Rows of an example as MLflow writes it: a split DataFrame, records, or one record."""
    if isinstance(table, list):
        return table
    if set(table) >= {"columns", "data"} and isinstance(table["columns"], list):
        names = table["columns"]
        return [dict(zip(names, row, strict=True)) for row in table["data"]]
    if table and all(isinstance(values, list) for values in table.values()):
        return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    return [table]
