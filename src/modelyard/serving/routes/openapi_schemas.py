"""JSON Schemas of what the served model takes, from its decoders, and of what it answers."""

from __future__ import annotations

from typing import Any

import msgspec

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.serving.protocols.exchange import ModelSpec
from modelyard.serving.protocols.tensors import DATATYPES, DTYPES

Schema = dict[str, Any]

PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457 problem details; values of the request are never repeated.",
    "required": ["type", "title", "status", "detail", "instance"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "description": "The request's id."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["loc", "msg"],
                "properties": {
                    "loc": {"type": "array", "items": {"type": ["string", "integer"]}},
                    "msg": {"type": "string"},
                },
            },
        },
    },
}
SCORING_ERROR: Schema = {
    "type": "object",
    "description": "MLflow's form of an error.",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
}
INFERENCE_ERROR: Schema = {
    "type": "object",
    "description": "The Open Inference Protocol's form of an error.",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}


def model_schemas(spec: ModelSpec | None) -> dict[str, Schema]:
    """The schemas that change with the served model, by name; without one, they allow anything."""
    anything: Schema = {"type": "object"}
    inputs = input_schemas(spec) if spec else {"Row": anything, "Columns": anything}
    output = spec.contract.output if spec else Output()
    numbers, text = _numbers_schema(output), {"type": "string"}
    return {
        **inputs,
        "Prediction": {
            "type": "object",
            "required": ["prediction", "model"],
            "properties": {
                "prediction": numbers,
                "model": {
                    "type": "object",
                    "required": ["name", "version"],
                    "properties": {"name": text, "version": text},
                },
            },
        },
        "Scores": {
            "type": "object",
            "required": ["predictions"],
            "properties": {"predictions": numbers},
        },
        "InferenceRequest": _request_schema(spec.contract if spec else None),
        "InferenceResponse": _response_schema(output),
    }


def input_schemas(spec: ModelSpec) -> dict[str, Schema]:
    """`Row` and `Columns`: the schemas of the types that they are decoded as.

    The contract adds what a type cannot say: descriptions, units, the order of categories, an
    example.
    """
    types = (spec.decoder.row_type, spec.columns_decoder.body_type)
    _, found = msgspec.json.schema_components(types)
    row, columns, lists = found["Row"], found["Columns"], found["Lists"]
    for feature in spec.contract.features:
        value = row["properties"][feature.name]
        _describe(value, feature)
        # the list's type has no ranges, which are checked over the whole column
        lists["properties"][feature.name] |= {
            "items": value,
            "minItems": 1,
            "maxItems": spec.limits.max_batch_rows,
        }
    row["example"] = dict(spec.contract.example)
    columns["description"] = "A list for each feature, all of the same length."
    columns["properties"]["columns"] = lists
    columns["example"] = {"columns": {k: [v] for k, v in spec.contract.example.items()}}
    return {"Row": row, "Columns": columns}


def _describe(value: Schema, feature: Feature) -> None:
    """Add what readers and generators of clients need to the schema of a feature's value."""
    match feature.type:
        case FeatureType.NUMBER:
            value["format"] = "double"  # a number that a double cannot hold is refused
        case FeatureType.INTEGER:
            value["format"] = "int64"
        case FeatureType.CATEGORY if "enum" in value:
            value["type"] = "string"
            value["enum"].sort(key=feature.categories.index)
        case FeatureType.CATEGORY:
            value["examples"] = list(feature.categories)
        case _:
            pass
    unit = f"[{feature.unit}]" if feature.unit else ""
    if text := " ".join(filter(None, (feature.description, unit))):
        value["description"] = text


def _numbers_schema(output: Output) -> Schema:
    number: Schema = {"type": "number"}
    if output.kind is not OutputKind.VALUE:
        number |= {"minimum": 0, "maximum": 1}
    item = number
    if output.kind is OutputKind.CLASS_PROBABILITIES:
        item = {
            "type": "array",
            "items": number,
            "minItems": len(output.classes),
            "maxItems": len(output.classes),
            "description": "One for each of: " + ", ".join(output.classes),
        }
    return {"type": "array", "items": item, "description": output.description}


def _request_schema(contract: Contract | None) -> Schema:
    names: Schema = {"type": "string"}
    example: Schema = {}
    if contract is not None:
        names["enum"] = list(contract.names)
        tensors = [
            {"name": f.name, "shape": [1], "datatype": DATATYPES[f.type], "data": [value]}
            for f in contract.features
            for value in [contract.example[f.name]]
        ]
        example = {"example": {"inputs": tensors}}
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": names,
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"type": "string", "enum": list(DTYPES)},
            "parameters": {"type": "object"},
            "data": {"type": "array", "items": {}},
        },
    }
    return {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "items": tensor},
            "outputs": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        },
        **example,
    }


def _response_schema(output: Output) -> Schema:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"type": "string", "enum": [output.name]},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"type": "string", "enum": ["FP64"]},
            "data": {"type": "array", "items": {"type": "number"}},
        },
    }
    return {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": tensor},
        },
    }
