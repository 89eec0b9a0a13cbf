"""Log lines of the servers: one JSON object a line, or plain text.

A record's own fields travel as `extra={"fields": {...}}`. Bodies of requests are never logged.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from modelyard.errors import ModelyardError

_QUIET = ("uvicorn", "uvicorn.error", "httpx", "httpcore")  # a line a request or a connection


class JsonLines(logging.Formatter):
    """Each record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class PlainLines(logging.Formatter):
    """Time, level and message, then the record's own fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The message with the record's fields behind it."""
        fields = getattr(record, "fields", {})
        return " ".join([super().formatMessage(record), *(f"{k}={v}" for k, v in fields.items())])


def configure_logs(level: str = "info", line_format: str = "json") -> None:
    """Send every logger's records to standard error, from `level` up."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if line_format == "json" else PlainLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def log_error(error: ModelyardError) -> None:
    """Log the error that ends this process, as `run_server` reports it."""
    fields = {"fix": error.fix, "exit_code": int(error.exit_code)}
    logging.getLogger("modelyard").critical(
        "%s: %s", error.title, error.detail, extra={"fields": fields}
    )
