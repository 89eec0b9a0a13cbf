"""What is answered to bytes that are no request, or not yet one: there is no scope to answer in."""

from __future__ import annotations

from http import HTTPStatus

from modelyard.serving.problem import Headers, Problem, render
from modelyard.serving.web.request_id import IdHeaders, log_fields

HEAD_TIMEOUT_S = 10.0
"""For a request line and its headers, from the first byte that did not bring them whole."""
MAX_HEAD_BYTES = 64 * 1024
"""In the reads after the first; the gateway takes 16 KiB in all."""


def not_http() -> Problem:
    """400: the parser cannot read it."""
    return Problem(
        "not-http",
        400,
        "Bad Request",
        "This is not valid HTTP/1.1.",
        fix="Send one Content-Length or chunks, and percent-encode what a path cannot hold.",
    )


def slow_head() -> Problem:
    """408: the head did not come in time."""
    return Problem(
        "slow-client",
        408,
        "Request Timeout",
        f"The request line and the headers did not come within {HEAD_TIMEOUT_S:g} s.",
    )


def long_head() -> Problem:
    """431: the head is too long."""
    return Problem(
        "too-long-head",
        431,
        "Request Header Fields Too Large",
        f"The request line and the headers may have {MAX_HEAD_BYTES} bytes.",
    )


def write_refusal(problem: Problem, defaults: Headers, id_headers: IdHeaders) -> bytes:
    """The whole answer for `problem`, after which the connection is closed."""
    body, headers = render(problem, log_fields(id_headers)["request_id"])
    lines = [b"HTTP/1.1 %d %b" % (problem.status, HTTPStatus(problem.status).phrase.encode())]
    lines += (name + b": " + value for name, value in (*defaults, *headers, *id_headers))
    lines += (b"connection: close", b"content-length: %d" % len(body), b"", body)
    return b"\r\n".join(lines)
