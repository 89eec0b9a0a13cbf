"""JSON Schemas of what the served model takes and answers, from its contract."""

from __future__ import annotations

from typing import Any

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
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


def model_schemas(contract: Contract | None) -> dict[str, Schema]:
    """The schemas that change with the served model, by name."""
    anything: Schema = {"type": "object"}
    output = contract.output if contract else Output()
    return {
        "Row": row_schema(contract) if contract else anything,
        "Columns": _columns_schema(contract) if contract else anything,
        "Prediction": _prediction_schema(output),
        "Scores": _scores_schema(output),
        "InferenceRequest": _request_schema(contract),
        "InferenceResponse": _response_schema(output),
    }


def row_schema(contract: Contract) -> Schema:
    """One row."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(contract.names),
        "properties": {f.name: feature_schema(f) for f in contract.features},
        "example": dict(contract.example),
    }


def feature_schema(feature: Feature) -> Schema:
    """One value of a feature."""
    is_string = feature.type in (FeatureType.STRING, FeatureType.CATEGORY)
    schema: Schema = {"type": "string" if is_string else feature.type.value}
    if feature.type is FeatureType.INTEGER:
        schema["format"] = "int64"
    if feature.categories and not feature.allow_unknown:
        schema["enum"] = list(feature.categories)
    elif is_string:
        schema["maxLength"] = feature.max_length
        if feature.categories:
            schema["examples"] = list(feature.categories)
    if feature.minimum is not None:
        schema["minimum"] = feature.minimum
    if feature.maximum is not None:
        schema["maximum"] = feature.maximum
    unit = f"[{feature.unit}]" if feature.unit else ""
    if text := " ".join(filter(None, (feature.description, unit))):
        schema["description"] = text
    return schema


def _columns_schema(contract: Contract) -> Schema:
    lists = {
        f.name: {"type": "array", "minItems": 1, "items": feature_schema(f)}
        for f in contract.features
    }
    return {
        "type": "object",
        "description": "A list for each feature, all of the same length.",
        "additionalProperties": False,
        "required": ["columns"],
        "properties": {
            "columns": {
                "type": "object",
                "additionalProperties": False,
                "required": list(contract.names),
                "properties": lists,
            }
        },
        "example": {"columns": {name: [value] for name, value in contract.example.items()}},
    }


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


def _prediction_schema(output: Output) -> Schema:
    name = {"type": "string"}
    return {
        "type": "object",
        "required": ["prediction", "model"],
        "properties": {
            "prediction": _numbers_schema(output),
            "model": {
                "type": "object",
                "required": ["name", "version"],
                "properties": {"name": name, "version": name},
            },
        },
    }


def _scores_schema(output: Output) -> Schema:
    return {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": _numbers_schema(output)},
    }


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
