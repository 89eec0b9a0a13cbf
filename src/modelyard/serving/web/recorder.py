"""The prediction log as the server keeps it: lines wait for each other, and share one write."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import monotonic

from modelyard.errors import ConfigError
from modelyard.prediction_log.record import RecordEncoder
from modelyard.prediction_log.writer import LogWriter
from modelyard.serving.problem import Problem
from modelyard.serving.protocols.exchange import LARGE_BODY_BYTES
from modelyard.serving.web.line_limit import LineLimit
from modelyard.settings import ServingSettings

log = logging.getLogger(__name__)

_BYTES_A_MB = 2**20
_SECONDS_A_DAY = 86_400
_PAUSE_S = 1.0
"""Between two looks whether there is room again."""


class Recorder:
    """Holds lines until they are written. Used from the event loop's thread only.

    Args:
        writer: None: nothing is logged.
        with_contents: requests and answers too.
        is_required: no answer goes out whose line could not be written.

    Attributes:
        encoder: makes the lines; None when nothing is logged.
        pending: lines to be written, which has to happen before their answers go out.
        written: lines that were written so far.
        lost: lines of answers that went out and could not be written.
        trouble: why the last line could not be written; empty while all is well.
        troubled_at: when a line was last lost.
    """

    def __init__(
        self, writer: LogWriter | None, *, with_contents: bool, is_required: bool = False
    ) -> None:
        self._writer = writer
        self.is_required = is_required and writer is not None
        self._complaints = LineLimit(1)
        content_bytes = LARGE_BODY_BYTES if with_contents else 0
        self.encoder = None if writer is None else RecordEncoder(content_bytes)
        self.pending: list[bytes] = []
        self.written = 0
        self.lost = 0
        self.trouble = ""
        self.troubled_at: datetime | None = None
        self._looks_at = 0.0

    @classmethod
    def of(cls, settings: ServingSettings) -> Recorder:
        """As the settings want it; raises ConfigError when the folder, or they, cannot be used."""
        if settings.prediction_log == "off":
            if settings.prediction_log_required:
                raise ConfigError(
                    "SERVING_PREDICTION_LOG_REQUIRED is true and SERVING_PREDICTION_LOG is off: "
                    "nothing could ever be answered.",
                    fix="Set SERVING_PREDICTION_LOG=ids or full.",
                )
            return cls(None, with_contents=False)
        writer = LogWriter(
            settings.prediction_log_dir,
            settings.prediction_log_mb * _BYTES_A_MB,
            settings.prediction_log_days * _SECONDS_A_DAY,
        )
        writer.prepare()
        return cls(
            writer,
            with_contents=settings.prediction_log == "full",
            is_required=settings.prediction_log_required,
        )

    def write(self) -> None:
        """Write what is pending; what cannot be written is counted, and lost."""
        if not self.pending or self._writer is None:
            return
        lines, self.pending = self.pending, []
        self._append(lines[0] if len(lines) == 1 else b"".join(lines), len(lines))

    def write_required(self, line: bytes) -> None:
        """Write `line` now.

        Raises:
            Problem: 503, it could not be written, so the answer must not go out.
        """
        if not self._append(line, 1):
            raise self._no_line()

    def check_ready(self) -> None:
        """Raise the 503 `Problem` while lines are required and cannot be written."""
        if self.is_required and self.look_again():
            raise self._no_line()

    def look_again(self) -> str:
        """Why lines are lost; looks, once a second at most, whether there is room again."""
        now = monotonic()
        if self.trouble and self._writer is not None and now >= self._looks_at:
            self._looks_at = now + _PAUSE_S
            try:
                self._writer.check()
            except OSError as error:
                self.trouble = _reason(error)
            else:
                self._recover()
        return self.trouble

    def _append(self, lines: bytes, count: int) -> bool:
        """Write `lines`; whether that went well."""
        assert self._writer is not None
        try:
            self._writer.append(lines)
        except Exception as error:  # noqa: BLE001 - answers wait for this, and most go out anyway
            if not self.is_required:  # else the prediction is not given
                self.lost += count
            self.trouble = _reason(error)
            self.troubled_at = datetime.now(UTC)
            self._looks_at = monotonic() + _PAUSE_S
            if self._complaints.admit("") is not None:
                lost = "" if self.is_required else f"; {self.lost} so far"
                log.warning("Predictions cannot be logged%s: %s", lost, error)
            return False
        self.written += count
        if self.trouble:
            self._recover()
        return True

    def _recover(self) -> None:
        self.trouble = ""
        log.info("Predictions are logged again; %d were answered and not logged.", self.lost)

    def _no_line(self) -> Problem:
        return Problem(
            "not-logged",
            503,
            "The prediction cannot be logged",
            f"This server answers only what it can write to its prediction log: {self.trouble}",
            fix="Make room in SERVING_PREDICTION_LOG_DIR, or lower SERVING_PREDICTION_LOG_MB.",
        )

    def close(self) -> None:
        """Write the rest, and give the file back."""
        self.write()
        if self._writer is not None:
            self._writer.close()


def _reason(error: Exception) -> str:
    """`error` without the path, which is the server's own business."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{(text or type(error).__name__).rstrip('.')}."
