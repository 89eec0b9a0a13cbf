"""One prediction in the log, as a line of JSON: written and read here, and nowhere else.

    {"time": "2026-11-20T13:14:30.123Z", "id": "…", "model": "fraud-detector", "version": "3",
     "path": "/predict", "rows": 1}

and, where the request belonged to a W3C trace, "trace"; where contents are logged, "request" and
"answer" as they were, or "request_base64" of what is not JSON, or "request_bytes", a number, of
what was too long to keep ("answer…" in the same way).
"""

from __future__ import annotations

import base64
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

_REQUIRED = {"time", "id", "model", "version", "path", "rows"}
_CONTENTS = ("request", "answer")
_NEWLINES = bytes.maketrans(b"\r\n", b"  ")


class RecordEncoder:
    """Writes lines. The parts that lines share are encoded once, so that a line costs one join.

    Args:
        max_content_bytes: the longest request, and the longest answer, that a line holds; 0 for
            lines without contents.
    """

    def __init__(self, max_content_bytes: int) -> None:
        self._max_content_bytes = max_content_bytes
        self._millisecond = 0
        self._start = b""
        self._shared = ("", "", "")
        self._middle = b""

    def encode(
        self,
        model: str,
        version: str,
        path: str,
        request_id: bytes,
        trace_id: bytes,
        rows: int,
        request: bytes,
        answer: bytes,
    ) -> bytes:
        """The line of a prediction that is made now.

        Args:
            model: name of the registered model that answered.
            version: its version.
            path: the address that was asked, with names for its variable parts.
            request_id: characters that need no escape in JSON.
            trace_id: the same; empty for a request that belongs to no trace.
            rows: rows of the request.
            request: its body.
            answer: the body of its answer.
        """
        now = time.time_ns() // 1_000_000
        if now != self._millisecond:
            self._millisecond = now
            moment = datetime.fromtimestamp(now / 1000, UTC)
            text = moment.isoformat(timespec="milliseconds").removesuffix("+00:00")
            self._start = b'{"time":"%bZ","id":"' % text.encode()
        if (model, version, path) != self._shared:
            self._shared = (model, version, path)
            shared = {"model": model, "version": version, "path": path}
            self._middle = b'",%b,"rows":' % msgspec.json.encode(shared)[1:-1]
        parts = [self._start, request_id, self._middle, b"%d" % rows]
        if trace_id:
            parts.append(b',"trace":"%b"' % trace_id)
        if self._max_content_bytes:
            parts.append(self._content(b"request", request))
            parts.append(self._content(b"answer", answer))
        parts.append(b"}\n")
        return b"".join(parts)

    def _content(self, name: bytes, content: bytes) -> bytes:
        """The field that holds `content`, in whatever form it can be kept."""
        if len(content) > self._max_content_bytes:
            return b',"%b_bytes":%d' % (name, len(content))
        try:
            msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return b',"%b_base64":"%b"' % (name, base64.b64encode(content))
        # a JSON text has line ends between its tokens only
        return b',"%b":%b' % (name, content.translate(_NEWLINES))


@dataclass(frozen=True)
class Record:
    """One line as it was read.

    Args:
        fields: every field of the line, by its name there.
    """

    fields: dict[str, Any]

    @property
    def time(self) -> str:
        """When the prediction was made, as ISO 8601 in UTC."""
        return str(self.fields["time"])

    @property
    def request_id(self) -> str:
        """The request's id."""
        return str(self.fields["id"])

    @property
    def model(self) -> str:
        """Name of the registered model that answered."""
        return str(self.fields["model"])

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.fields["version"])

    @property
    def path(self) -> str:
        """The address that was asked."""
        return str(self.fields["path"])

    @property
    def rows(self) -> int:
        """Rows of the request."""
        return int(self.fields["rows"])

    @property
    def trace_id(self) -> str:
        """The W3C trace that the request belonged to; empty for none."""
        return str(self.fields.get("trace", ""))

    @property
    def contents(self) -> dict[str, Any]:
        """What was kept of request and answer, by the name of the field that has it."""
        return {
            name: value
            for name, value in self.fields.items()
            if name.partition("_")[0] in _CONTENTS
        }


def decode(line: bytes) -> Record | None:
    """What `line` records; None when it is no record, but what a crash left of one."""
    try:
        fields = json.loads(line.decode(errors="replace"))
    except ValueError:
        return None
    is_record = isinstance(fields, dict) and fields.keys() >= _REQUIRED
    return Record(fields) if is_record else None


def id_field(request_id: str) -> bytes:
    """Bytes that every record with this id holds; others may hold them in their contents."""
    return f'"id":"{request_id}"'.encode()
