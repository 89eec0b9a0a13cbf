"""The OpenAPI document: FastAPI's for its routes, and `/predict` as the served contract has it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.serving.predict import PATH
from modelyard.serving.problem import CONTENT_TYPE
from modelyard.serving.snapshot import Snapshot

_ERRORS = {
    "400": "The body is not JSON.",
    "408": "The body did not come in time.",
    "413": "Too many bytes, or too many rows.",
    "415": "The body is not declared as JSON.",
    "422": "The input does not keep the contract; every faulty field is named.",
    "500": "The model failed.",
    "503": "No model is served, or too many requests at once; see Retry-After.",
}
_PROBLEM = {
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


def build_openapi(app: FastAPI, snapshot: Snapshot | None, max_rows: int) -> dict[str, Any]:
    """The document for what is served now."""
    title = f"{snapshot.version.name}, version {snapshot.version.version}" if snapshot else ""
    document = get_openapi(
        title=title or "Modelyard: no model is served yet",
        version=app.version,
        description=snapshot.contract.description if snapshot else "",
        routes=app.routes,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    schemas["Row"] = row_schema(snapshot.contract) if snapshot else {"type": "object"}
    schemas["Prediction"] = _prediction_schema(snapshot.contract.output if snapshot else Output())
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # these routes take no input
            operation["responses"]["default"] = _problem_response("An error.")
    predict = {PATH: {"post": _predict_operation(snapshot, max_rows)}}
    document["paths"] = predict | document["paths"]
    return document


def row_schema(contract: Contract) -> dict[str, Any]:
    """JSON Schema of one row."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(contract.names),
        "properties": {f.name: _feature_schema(f) for f in contract.features},
        "example": dict(contract.example),
    }


def _feature_schema(feature: Feature) -> dict[str, Any]:
    is_string = feature.type in (FeatureType.STRING, FeatureType.CATEGORY)
    schema: dict[str, Any] = {"type": "string" if is_string else feature.type.value}
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


def _prediction_schema(output: Output) -> dict[str, Any]:
    number: dict[str, Any] = {"type": "number"}
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
    name = {"type": "string"}
    return {
        "type": "object",
        "required": ["prediction", "model"],
        "properties": {
            "prediction": {"type": "array", "items": item, "description": output.description},
            "model": {
                "type": "object",
                "required": ["name", "version"],
                "properties": {"name": name, "version": name},
            },
        },
    }


def _predict_operation(snapshot: Snapshot | None, max_rows: int) -> dict[str, Any]:
    row = {"$ref": "#/components/schemas/Row"}
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": max_rows}
    content: dict[str, Any] = {"schema": {"anyOf": [row, rows]}}
    if snapshot is not None:
        content["example"] = dict(snapshot.contract.example)
    answer = {"$ref": "#/components/schemas/Prediction"}
    headers = {name: {"schema": {"type": "string"}} for name in ("X-Model-Version", "X-Request-Id")}
    return {
        "tags": ["prediction"],
        "summary": "Predict one row, or a list of rows",
        "operationId": "predict",
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": {
                "description": "One prediction a row, in the order of the rows.",
                "headers": headers,
                "content": {"application/json": {"schema": answer}},
            },
            **{status: _problem_response(text) for status, text in _ERRORS.items()},
        },
    }


def _problem_response(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {CONTENT_TYPE: {"schema": schema}}}
