"""What ties an answer and a log line to a request: its id, and the trace it belongs to.

A sane id that came with the request is kept, else one is made. A W3C `traceparent` is passed on as
it came: the server adds no span of its own.
"""

from __future__ import annotations

import re
import secrets
from itertools import count

from modelyard.serving.protocols.body import RequestHeaders

HEADER = b"x-request-id"
TRACE_HEADER = b"traceparent"
IdHeaders = list[tuple[bytes, bytes]]
"""Headers that an answer carries back: the request's id, then its trace if it belongs to one."""

_sane = re.compile(rb"[A-Za-z0-9._~+/=-]{1,128}").fullmatch
_trace = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class RequestIds:
    """Gives each request its id; those made here are unique by process and by request."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6).encode()
        self._numbers = count(1)

    def id_headers(self, headers: RequestHeaders) -> IdHeaders:
        """What identifies the request with these headers."""
        request_id = headers.get(HEADER)
        if request_id is None or not _sane(request_id):
            request_id = b"%b-%x" % (self._prefix, next(self._numbers))
        trace = headers.get(TRACE_HEADER)
        if trace is not None and _trace.fullmatch(trace):
            return [(HEADER, request_id), (TRACE_HEADER, trace)]
        return [(HEADER, request_id)]


def trace_id(id_headers: IdHeaders) -> bytes:
    """The id of the request's trace; empty when it belongs to none."""
    return id_headers[1][1].split(b"-")[1] if len(id_headers) > 1 else b""


def log_fields(id_headers: IdHeaders) -> dict[str, str]:
    """What identifies a request as fields of a log line."""
    fields = {"request_id": id_headers[0][1].decode("ascii")}
    if trace := trace_id(id_headers):
        fields["trace_id"] = trace.decode("ascii")
    return fields
