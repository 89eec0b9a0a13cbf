"""Says which version answered which request; the lines of the log of predictions."""

from __future__ import annotations

import base64
import logging
import time
from datetime import UTC, datetime

import msgspec

from modelyard.prediction_log.writer import LogWriter
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.protocols.exchange import LARGE_BODY_BYTES
from modelyard.serving.web.line_limit import LineLimit
from modelyard.serving.web.request_id import Marks, log_fields
from modelyard.settings import ServingSettings

log = logging.getLogger(__name__)

_BYTES_A_MB = 2**20
_SECONDS_A_DAY = 86_400
_NEWLINES = bytes.maketrans(b"\r\n", b"  ")


class Recorder:
    """Makes lines, and writes many at once. Used from the event loop's thread only.

    Args:
        writer: None: nothing is logged.
        with_contents: requests and answers too.
    """

    def __init__(self, writer: LogWriter | None, *, with_contents: bool) -> None:
        self._writer = writer
        self._with_contents = with_contents
        self._lines: list[bytes] = []
        self._millisecond = 0
        self._start = b""
        self._snapshot: Snapshot | None = None
        self._label = ""
        self._middle = b""
        self._complaints = LineLimit(1)
        self.written = 0
        self.lost = 0

    @classmethod
    def of(cls, settings: ServingSettings) -> Recorder:
        """As the settings want it; raises ConfigError when the folder cannot be used."""
        if settings.serving_prediction_log == "off":
            return cls(None, with_contents=False)
        writer = LogWriter(
            settings.serving_prediction_log_dir,
            settings.serving_prediction_log_mb * _BYTES_A_MB,
            settings.serving_prediction_log_days * _SECONDS_A_DAY,
        )
        writer.prepare()
        return cls(writer, with_contents=settings.serving_prediction_log == "full")

    def add(
        self,
        snapshot: Snapshot,
        label: str,
        marks: Marks,
        rows: int,
        request: bytes,
        answer: bytes,
    ) -> None:
        """Remember a prediction until `write`, which has to come before its answer goes out."""
        if self._writer is None:
            return
        now = time.time_ns() // 1_000_000
        if now != self._millisecond:
            self._millisecond = now
            moment = datetime.fromtimestamp(now / 1000, UTC)
            text = moment.isoformat(timespec="milliseconds").removesuffix("+00:00")
            self._start = b'{"time":"%bZ","id":"' % text.encode()
        if snapshot is not self._snapshot or label != self._label:
            self._snapshot, self._label = snapshot, label
            self._middle = _middle(snapshot, label)
        # an id is kept only when it consists of characters that need no escape
        parts = [self._start, marks[0][1], self._middle, b"%d" % rows]
        if len(marks) > 1:
            parts.append(b',"trace":"%b"' % log_fields(marks)["trace_id"].encode())
        if self._with_contents:
            parts += (_content(b"request", request), _content(b"answer", answer))
        parts.append(b"}\n")
        self._lines.append(b"".join(parts))

    def write(self) -> None:
        """Write what was added since; what cannot be written is counted, and lost."""
        if not self._lines or self._writer is None:
            return
        lines, self._lines = self._lines, []
        try:
            self._writer.append(lines[0] if len(lines) == 1 else b"".join(lines))
        except OSError as error:
            self.lost += len(lines)
            if self._complaints.admit("") is not None:
                log.warning("%d predictions could not be logged so far: %s", self.lost, error)
        else:
            self.written += len(lines)

    def close(self) -> None:
        """Write the rest, and give the file back."""
        self.write()
        if self._writer is not None:
            self._writer.close()


def _middle(snapshot: Snapshot, label: str) -> bytes:
    """What the lines of one version at one address share."""
    version = snapshot.version
    shared = {"model": version.name, "version": version.version, "path": label}
    return b'",%b,"rows":' % msgspec.json.encode(shared)[1:-1]


def _content(name: bytes, content: bytes) -> bytes:
    """A field with what was asked or answered, in whatever form it can be kept."""
    if len(content) > LARGE_BODY_BYTES:
        return b',"%b_bytes":%d' % (name, len(content))
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return b',"%b_base64":"%b"' % (name, base64.b64encode(content))
    # a JSON text has line ends between its tokens only
    return b',"%b":%b' % (name, content.translate(_NEWLINES))
