"""Says which version answered which request; the lines of the log of predictions."""

from __future__ import annotations

import logging

from modelyard.prediction_log.record import RecordEncoder
from modelyard.prediction_log.writer import LogWriter
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.protocols.exchange import LARGE_BODY_BYTES
from modelyard.serving.web.line_limit import LineLimit
from modelyard.serving.web.request_id import Marks
from modelyard.settings import ServingSettings

log = logging.getLogger(__name__)

_BYTES_A_MB = 2**20
_SECONDS_A_DAY = 86_400


class Recorder:
    """Makes lines, and writes many at once. Used from the event loop's thread only.

    Args:
        writer: None: nothing is logged.
        with_contents: requests and answers too.
    """

    def __init__(self, writer: LogWriter | None, *, with_contents: bool) -> None:
        self._writer = writer
        self._encode = RecordEncoder(LARGE_BODY_BYTES if with_contents else 0).encode
        self._lines: list[bytes] = []
        self._complaints = LineLimit(1)
        self.written = 0
        self.lost = 0

    @classmethod
    def of(cls, settings: ServingSettings) -> Recorder:
        """As the settings want it; raises ConfigError when the folder cannot be used."""
        if settings.prediction_log == "off":
            return cls(None, with_contents=False)
        writer = LogWriter(
            settings.prediction_log_dir,
            settings.prediction_log_mb * _BYTES_A_MB,
            settings.prediction_log_days * _SECONDS_A_DAY,
        )
        writer.prepare()
        return cls(writer, with_contents=settings.prediction_log == "full")

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
        version = snapshot.version
        trace = marks[1][1].split(b"-")[1] if len(marks) > 1 else b""
        line = self._encode(
            version.name, version.version, label, marks[0][1], trace, rows, request, answer
        )
        self._lines.append(line)

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
