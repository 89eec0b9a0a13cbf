"""The prediction log as the server keeps it: lines wait for each other, and share one write."""

from __future__ import annotations

import logging

from modelyard.prediction_log.record import RecordEncoder
from modelyard.prediction_log.writer import LogWriter
from modelyard.serving.protocols.exchange import LARGE_BODY_BYTES
from modelyard.serving.web.line_limit import LineLimit
from modelyard.settings import ServingSettings

log = logging.getLogger(__name__)

_BYTES_A_MB = 2**20
_SECONDS_A_DAY = 86_400


class Recorder:
    """Holds lines until they are written. Used from the event loop's thread only.

    Args:
        writer: None: nothing is logged.
        with_contents: requests and answers too.

    Attributes:
        encoder: makes the lines; None when nothing is logged.
        pending: lines to be written, which has to happen before their answers go out.
        written: lines that were written so far.
        lost: lines that could not be written.
    """

    def __init__(self, writer: LogWriter | None, *, with_contents: bool) -> None:
        self._writer = writer
        self._complaints = LineLimit(1)
        content_bytes = LARGE_BODY_BYTES if with_contents else 0
        self.encoder = None if writer is None else RecordEncoder(content_bytes)
        self.pending: list[bytes] = []
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

    def write(self) -> None:
        """Write what is pending; what cannot be written is counted, and lost."""
        if not self.pending or self._writer is None:
            return
        lines, self.pending = self.pending, []
        try:
            self._writer.append(lines[0] if len(lines) == 1 else b"".join(lines))
        except Exception as error:  # noqa: BLE001 - answers wait for this, and go out in any case
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
