"""Requests to `/predict`, and what holds for every refusal."""

from __future__ import annotations

import json
from typing import Any

import httpx

from modelyard.prediction_log.search import log_files
from support.models.toy import ROW
from support.protocol_requests import strict_json
from support.serving_app import Server

JSON = {"content-type": "application/json"}


def post(server: Server, body: Any, **headers: str) -> httpx.Response:
    """Post `body`: bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.ask("POST", "/predict", content=content, headers=JSON | headers)


def row(**changes: Any) -> dict[str, Any]:
    return ROW | changes


def raw(field: str, text: str) -> bytes:
    """The usual row with the JSON text of one field replaced."""
    parts = {name: json.dumps(value) for name, value in ROW.items()} | {field: text}
    return b"{" + ",".join(f'"{k}":{v}' for k, v in parts.items()).encode("utf-8") + b"}"


def check_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """An error is always a whole problem document, in valid JSON."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = strict_json(answer)
    assert {"type", "title", "status", "detail", "instance"} <= problem.keys()
    assert problem["status"] == status
    assert problem["instance"] == answer.headers["x-request-id"]
    return problem


def log_of(server: Server) -> list[dict[str, Any]]:
    """Every line of the server's prediction log."""
    text = "".join(path.read_text() for path in log_files(server.folder / "predictions"))
    return [json.loads(line) for line in text.split("\n") if line]
