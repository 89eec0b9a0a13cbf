"""The body of a request: its headers are checked first, then it is read within a limit."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Receive

from modelyard.serving.problem import Problem

_JSON = b"application/json"


class ClientGoneError(Exception):
    """The client closed the connection before it had sent its request."""


def check_headers(headers: Iterable[tuple[bytes, bytes]], max_body_bytes: int) -> None:
    """Refuse, before a byte of the body is read, what the headers already rule out.

    Raises:
        Problem: 415 for anything but JSON in UTF-8, 413 for an announced body over the limit.
    """
    content_type = b""
    for name, value in headers:
        if name == b"content-type":
            content_type = value
        elif name == b"content-length":
            if int(value) > max_body_bytes:
                raise body_too_large(max_body_bytes)
        elif name == b"content-encoding" and value.lower() not in (b"", b"identity"):
            raise _unsupported("The body's content-encoding is not supported.", "Send it plain.")
    if content_type != _JSON:
        _check_content_type(content_type)


def _check_content_type(value: bytes) -> None:
    media_type, *parameters = (part.strip().lower() for part in value.split(b";"))
    if media_type != _JSON:
        found = "another content type" if media_type else "none"
        raise _unsupported(
            f"The content type must be application/json, found {found}.",
            "Send the header `Content-Type: application/json`.",
        )
    for parameter in parameters:
        name, _, charset = parameter.partition(b"=")
        if name.strip() == b"charset" and charset.strip(b'" ') not in (b"utf-8", b"utf8"):
            raise _unsupported("JSON is read as UTF-8 only.", "Send it in UTF-8.")


async def read_body(receive: Receive, max_body_bytes: int) -> bytes:
    """The whole body.

    Raises:
        Problem: 413 as soon as more than `max_body_bytes` have come.
        ClientGoneError: the connection closed before the body was complete.
    """
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body"):
        if len(body) > max_body_bytes:
            raise body_too_large(max_body_bytes)
        return body
    chunks, size = [], 0
    while True:
        if message["type"] != "http.request":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_body_bytes:
            raise body_too_large(max_body_bytes)
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


def body_too_large(max_body_bytes: int) -> Problem:
    """The answer to a body over the limit."""
    return Problem(
        "body-too-large",
        413,
        "The body is too large",
        f"A request body may have at most {max_body_bytes} bytes.",
        fix="Send fewer rows at once, or raise SERVING_MAX_BODY_BYTES.",
    )


def _unsupported(detail: str, fix: str) -> Problem:
    return Problem("unsupported-media-type", 415, "Unsupported media type", detail, fix=fix)
