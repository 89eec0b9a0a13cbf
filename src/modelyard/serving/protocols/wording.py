"""Refusals in the words of each protocol: one `Problem`, three ways to write it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from modelyard.serving import problem as problems
from modelyard.serving.problem import Headers, Problem

Render = Callable[[Problem, str], tuple[int, bytes, Headers]]

_BAD_REQUEST, _UNPROCESSABLE = 400, 422
_LISTED_FAULTS = 20
_ERROR_CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    500: "INTERNAL_ERROR",
    502: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_MLFLOW_PATHS = ("/invocations", "/ping", "/version")


def render_for(path: str) -> Render:
    """How refusals are written at `path`."""
    if path == "/v2" or path.startswith("/v2/"):
        return render_v2
    return render_mlflow if path in _MLFLOW_PATHS else render_native


def render_native(problem: Problem, request_id: str) -> tuple[int, bytes, Headers]:
    """RFC 9457 problem details."""
    body, headers = problems.render(problem, request_id)
    return problem.status, body, headers


def render_mlflow(problem: Problem, request_id: str) -> tuple[int, bytes, Headers]:
    """MLflow's `{"error_code", "message"}`, with 400 for input that breaks the contract."""
    code = _ERROR_CODES.get(problem.status, "BAD_REQUEST")
    return _render(problem, request_id, {"error_code": code, "message": _text(problem)})


def render_v2(problem: Problem, request_id: str) -> tuple[int, bytes, Headers]:
    """The Open Inference Protocol's `{"error"}`, with 400 for input that breaks the contract."""
    return _render(problem, request_id, {"error": _text(problem)})


def _render(
    problem: Problem, request_id: str, content: dict[str, str]
) -> tuple[int, bytes, Headers]:
    _, headers = problems.render(problem, request_id)
    headers = [(b"content-type", b"application/json"), *headers[1:]]
    status = _BAD_REQUEST if problem.status == _UNPROCESSABLE else problem.status
    return status, msgspec.json.encode(content), headers


def _text(problem: Problem) -> str:
    """The problem as one text; its faults as `field (row 3): message`."""
    sentences = [problem.sentence()]
    for fault in problem.errors[:_LISTED_FAULTS]:
        place = fault["loc"][1:]  # the first part is "body"
        name = ".".join(part for part in place if isinstance(part, str)) or "the body"
        rows = [f" (row {part})" for part in place if isinstance(part, int)]
        sentences.append(f"{name}{rows[-1] if rows else ''}: {fault['msg']}.")
    return " ".join(sentences)
