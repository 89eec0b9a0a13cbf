"""The OpenAPI document: FastAPI's own for its routes, and predictions as the model takes them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from modelyard.contract import Contract
from modelyard.serving.limits import Limits
from modelyard.serving.problem import CONTENT_TYPE
from modelyard.serving.protocols import inference, mlflow_scoring, native
from modelyard.serving.protocols.arrow import MEDIA_TYPE as ARROW
from modelyard.serving.protocols.exchange import ModelSpec
from modelyard.serving.protocols.wording import (
    Render,
    render_for,
    render_mlflow,
    render_native,
    render_v2,
)
from modelyard.serving.routes.openapi_schemas import (
    INFERENCE_ERROR,
    PROBLEM,
    SCORING_ERROR,
    Schema,
    model_schemas,
)

_JSON = "application/json"
_ERRORS: dict[Render, tuple[str, str]] = {
    render_native: (CONTENT_TYPE, "Problem"),
    render_mlflow: (_JSON, "ScoringError"),
    render_v2: (_JSON, "InferenceError"),
}
_STATUSES = {
    "400": "The body cannot be read.",
    "404": "Another model, or another version, is served.",
    "408": "The body did not come in time.",
    "413": "Too many bytes, or too many rows.",
    "415": "The content type, or the encoding, is not supported.",
    "422": "The input breaks the contract; every faulty field is named.",
    "500": "The model failed.",
    "502": "The model's process ended while it worked on this request.",
    "503": "No model is served, or too many requests at once; see Retry-After.",
    "504": "The model gave no answer in time.",
}
_HEADERS = {name: {"schema": {"type": "string"}} for name in ("X-Model-Version", "X-Request-Id")}
_BYTES: Schema = {"type": "string", "format": "binary"}


def build_openapi(app: FastAPI, spec: ModelSpec | None, limits: Limits) -> dict[str, Any]:
    """The document for what is served now: `spec`, or no model yet."""
    contract = spec.contract if spec else None
    title = "Modelyard: no model is served yet"
    if spec is not None:
        title = f"{spec.snapshot.version.name}, version {spec.snapshot.version.version}"
    document = get_openapi(
        title=title,
        version=app.version,
        description=contract.description if contract else "",
        routes=app.routes,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= model_schemas(spec)
    schemas |= {
        "Problem": PROBLEM,
        "ScoringError": SCORING_ERROR,
        "InferenceError": INFERENCE_ERROR,
    }
    paths = document["paths"]
    for path, operations in paths.items():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # FastAPI's own; these routes take no body
            operation["responses"]["default"] = _error(path, "An error.")
    infer = inference.LABEL
    versioned = infer.replace("{model}", "{model}/versions/{version}")
    predictions = {
        native.PATH: {"post": _predict(contract, limits)},
        mlflow_scoring.PATH: {"post": _invocations(contract)},
        infer: {"post": _infer("infer", ["model"])},
        versioned: {"post": _infer("infer_version", ["model", "version"])},
    }
    document["paths"] = predictions | paths
    return document


def _predict(contract: Contract | None, limits: Limits) -> dict[str, Any]:
    rows = {"type": "array", "items": _ref("Row"), "minItems": 1, "maxItems": limits.max_rows}
    content: Schema = {"schema": {"anyOf": [_ref("Row"), rows, _ref("Columns")]}}
    if contract is not None:
        content["examples"] = {
            "row": {"value": dict(contract.example)},
            "rows": {"value": [dict(contract.example)]},
            "columns": {"value": {"columns": {k: [v] for k, v in contract.example.items()}}},
        }
    answers = {_JSON: {"schema": _ref("Prediction")}, ARROW: {"schema": _BYTES}}
    return {
        "tags": ["prediction"],
        "summary": "Predict one row, a list of rows, or columns",
        "description": (
            f"JSON by row may have {limits.max_rows} rows and {limits.max_body_bytes} bytes. "
            "Columns (`columns` must be the first key) and Arrow IPC streams may have "
            f"{limits.max_batch_rows} rows and {limits.max_batch_body_bytes} bytes. A stream must "
            "have neither compression nor nulls; its texts are fastest as dictionaries. A stream "
            "is answered with a stream and JSON with JSON, unless `Accept` asks for the other."
        ),
        "operationId": "predict",
        "requestBody": {
            "required": True,
            "content": {_JSON: content, ARROW: {"schema": _BYTES}},
        },
        "responses": _responses(native.PATH, "One prediction for each row, in order.", answers),
    }


def _invocations(contract: Contract | None) -> dict[str, Any]:
    table = {"type": "array", "items": {"type": "object"}}
    layouts: dict[str, Schema] = {
        "dataframe_split": {
            "type": "object",
            "required": ["columns", "data"],
            "properties": {
                "columns": {"type": "array", "items": {"type": "string"}},
                "data": {"type": "array", "items": {"type": "array", "items": {}}},
            },
        },
        "dataframe_records": table,
        "instances": table,
        "inputs": {"anyOf": [table, {"type": "object"}]},
    }
    content: Schema = {
        "schema": {
            "oneOf": [
                {
                    "type": "object",
                    "required": [name],
                    "properties": {name: layout, "params": {"type": "object"}},
                }
                for name, layout in layouts.items()
            ]
        }
    }
    if contract is not None:
        row = dict(contract.example)
        split = {"columns": list(row), "data": [list(row.values())]}
        content["examples"] = {
            "dataframe_split": {"value": {"dataframe_split": split}},
            "dataframe_records": {"value": {"dataframe_records": [row]}},
            "inputs": {"value": {"inputs": {name: [value] for name, value in row.items()}}},
        }
    answers = {_JSON: {"schema": _ref("Scores")}}
    return {
        "tags": ["mlflow scoring"],
        "summary": "Predict, in MLflow's scoring protocol",
        "description": "Values are cast to the model's types where the cast loses nothing.",
        "operationId": "invocations",
        "requestBody": {
            "required": True,
            "content": {_JSON: content, "text/csv": {"schema": {"type": "string"}}},
        },
        "responses": _responses(mlflow_scoring.PATH, "One prediction for each row.", answers),
    }


def _infer(operation_id: str, names: list[str]) -> dict[str, Any]:
    octets = {"application/octet-stream": {"schema": _BYTES}}
    answers = {_JSON: {"schema": _ref("InferenceResponse")}, **octets}
    text = {"type": "string"}
    return {
        "tags": ["open inference protocol"],
        "summary": "Predict, in the Open Inference Protocol V2",
        "description": (
            "One tensor for each feature, of the shape [rows] or [rows, 1]. With the binary tensor "
            "extension, the header Inference-Header-Content-Length says where the JSON ends, and "
            "the limits of batches apply."
        ),
        "operationId": operation_id,
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": text} for name in names),
            {
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "schema": {"type": "integer", "minimum": 0},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": _ref("InferenceRequest")}, **octets},
        },
        "responses": _responses(inference.LABEL, "One tensor of predictions.", answers),
    }


def _responses(path: str, text: str, content: dict[str, Any]) -> dict[str, Any]:
    good = {"description": text, "headers": _HEADERS, "content": content}
    return {"200": good} | {status: _error(path, text) for status, text in _STATUSES.items()}


def _error(path: str, text: str) -> dict[str, Any]:
    media_type, name = _ERRORS[render_for(path)]
    return {"description": text, "content": {media_type: {"schema": _ref(name)}}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
