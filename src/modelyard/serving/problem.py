"""Errors as a client sees them: RFC 9457 problem details, one mapping for the whole server."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from modelyard.errors import ModelyardError
from modelyard.scoring.rows.faults import RowsRefusedError

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
_INTERNAL = "The server failed; its log has the reason under this request's id."

Headers = list[tuple[bytes, bytes]]


class Problem(ModelyardError):  # noqa: N818 - RFC 9457's own word
    """A request that is answered with an error of its own status.

    Args:
        kind: short fixed name, the last part of the problem's `type` and the metric's label.
        status: HTTP status.
        title: what this kind of problem is called.
        detail: what was expected and what was found; never the value itself.
        fix: what the client can do.
        errors: one entry a fault, `{"loc": [...], "msg": ...}`.
        headers: headers of the answer that belong to this problem.
        members: further members of the problem object.
    """

    def __init__(
        self,
        kind: str,
        status: int,
        title: str,
        detail: str,
        *,
        fix: str = "",
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail, fix=fix)
        self.kind = kind
        self.status = status
        self.title = title
        self.errors = errors
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def as_problem(error: Exception) -> Problem:
    """`error` as a problem; an unexpected error shows nothing of itself."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RowsRefusedError):
        return Problem(
            "invalid-input",
            422,
            error.title,
            error.detail,
            fix="/docs shows what the served model takes.",
            errors=[{"loc": ["body", *f.place], "msg": f.message} for f in error.faults],
        )
    if isinstance(error, ModelyardError):
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__.removesuffix("Error"))
        return Problem(kind.lower(), error.status, error.title, error.detail, fix=error.fix)
    return Problem("internal", 500, "The server failed", _INTERNAL)


def render(problem: Problem, request_id: str) -> tuple[bytes, Headers]:
    """Body and headers of the answer for `problem`."""
    content: dict[str, Any] = {
        "type": f"urn:modelyard:problem:{problem.kind}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.sentence(),
        "instance": request_id,
    }
    if problem.errors:
        content["errors"] = problem.errors
    headers = {"content-type": CONTENT_TYPE, **problem.headers}
    if problem.status == 503:  # noqa: PLR2004 - service unavailable
        headers.setdefault("retry-after", str(RETRY_AFTER_S))
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return msgspec.json.encode(content | problem.members), pairs
