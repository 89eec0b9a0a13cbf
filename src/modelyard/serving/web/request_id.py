"""What ties an answer and a log line to a request: its id, and the trace it belongs to.

A sane id that came with the request is kept, else one is made. A W3C `traceparent` is passed on as
it came: the server adds no span of its own.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from itertools import count

HEADER = b"x-request-id"
TRACE_HEADER = b"traceparent"
Marks = list[tuple[bytes, bytes]]
"""Headers that an answer carries back; the first one is the request's id."""

_sane = re.compile(rb"[A-Za-z0-9._~+/=-]{1,128}").fullmatch
_trace = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class RequestIds:
    """Gives each request its id; those made here are unique by process and by request."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(6).encode()
        self._numbers = count(1)

    def marks(self, heads: Mapping[bytes, bytes]) -> Marks:
        """The marks of the request with these headers, by their names in lower case."""
        request_id = heads.get(HEADER)
        if request_id is None or not _sane(request_id):
            request_id = b"%b-%x" % (self._prefix, next(self._numbers))
        trace = heads.get(TRACE_HEADER)
        if trace is not None and _trace.fullmatch(trace):
            return [(HEADER, request_id), (TRACE_HEADER, trace)]
        return [(HEADER, request_id)]


def log_fields(marks: Marks) -> dict[str, str]:
    """The marks as fields of a log line."""
    fields = {"request_id": marks[0][1].decode("ascii")}
    if len(marks) > 1:
        fields["trace_id"] = marks[1][1].split(b"-")[1].decode("ascii")
    return fields
