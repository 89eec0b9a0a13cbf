"""The body of a request: its headers are checked, then it is read within a limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.types import Receive

from modelyard.serving.limits import Size
from modelyard.serving.problem import Problem

JSON = b"application/json"
RequestHeaders = Mapping[bytes, bytes]
"""Headers of a request by their lower-case names."""


class ClientGoneError(Exception):
    """The client closed the connection before it had sent its whole request."""


class BodyReader:
    """Reads the bodies of one kind of request.

    Args:
        size: limits of an ordinary request.
        batch: limits of a batch; None where there are no batches.
        is_batch: whether a body that begins with these bytes may be a batch; by default, any may.
    """

    def __init__(
        self,
        size: Size,
        batch: Size | None = None,
        is_batch: Callable[[bytes], bool] = lambda _: True,
    ) -> None:
        self._size = size
        self._is_batch = is_batch
        self._largest = batch or size
        self._max_bytes = size.max_body_bytes
        self._max_announced_bytes = self._largest.max_body_bytes

    def check_announced(self, headers: RequestHeaders) -> None:
        """Refuse what the headers already rule out, before any of the body is read.

        Raises:
            Problem: 413 when the announced body is over the limit, 415 when it is encoded.
        """
        length = headers.get(b"content-length")
        if length is not None and int(length) > self._max_announced_bytes:
            raise self._largest.body_too_large()
        encoding = headers.get(b"content-encoding")
        if encoding is not None and encoding.lower() not in (b"", b"identity"):
            raise unsupported(
                "The body's content-encoding is not supported.", "Send it uncompressed."
            )

    async def read(self, receive: Receive, begin_batch: Callable[[], None]) -> bytes:
        """The whole body.

        Args:
            receive: ASGI's.
            begin_batch: called before more is held than an ordinary request may have; may raise.

        Raises:
            Problem: 413 as soon as more bytes have come than the limit allows.
            ClientGoneError: the connection closed before the body was complete.
        """
        message = await receive()
        body: bytes = message.get("body", b"")
        is_whole = message["type"] == "http.request" and not message.get("more_body")
        if is_whole and len(body) <= self._max_bytes:
            return body
        size, length = self._size, 0
        chunks: list[bytes] = []
        while True:
            if message["type"] != "http.request":
                raise ClientGoneError
            chunks.append(message.get("body", b""))
            length += len(chunks[-1])
            is_over = length > size.max_body_bytes
            if is_over and size is not self._largest and self._is_batch(b"".join(chunks)):
                size = self._largest
                begin_batch()
            if length > size.max_body_bytes:
                raise size.body_too_large()
            if not message.get("more_body"):
                return b"".join(chunks)
            message = await receive()


def media_type(content_type: bytes) -> bytes:
    """The bare media type, in lower case.

    Raises:
        Problem: 415 for a charset that is not UTF-8.
    """
    bare, *parameters = (part.strip().lower() for part in content_type.split(b";"))
    for parameter in parameters:
        name, _, charset = parameter.partition(b"=")
        if name.strip() == b"charset" and charset.strip(b'" ') not in (b"utf-8", b"utf8"):
            raise unsupported("Text is read as UTF-8 only.", "Send it in UTF-8.")
    return bare


def wrong_type(found: bytes, *taken: str) -> Problem:
    """415: the body is declared as something other than what is `taken`."""
    words = "another content type" if found else "none"
    return unsupported(
        f"The content type must be {' or '.join(taken)}, found {words}.",
        f"Send the header `Content-Type: {taken[0]}`.",
    )


def unsupported(detail: str, fix: str) -> Problem:
    """415: a body that is declared like this is not taken here."""
    return Problem("unsupported-media-type", 415, "Unsupported media type", detail, fix=fix)


def unreadable(detail: str) -> Problem:
    """400: the input is not what the protocol asks for."""
    return Problem("invalid-input", 400, "The input cannot be read", detail)


def method_not_allowed(path: str) -> Problem:
    """405: predictions are asked for with POST."""
    return Problem(
        "method-not-allowed",
        405,
        "Method Not Allowed",
        f"{path} takes POST.",
        headers={"allow": "POST"},
    )
