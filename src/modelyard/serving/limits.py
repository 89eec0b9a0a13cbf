"""What one request, and all requests together, may take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from modelyard.serving.problem import Problem
from modelyard.settings import ServingSettings

_begins_columnar = re.compile(rb'\s*\{\s*"columns"\s*:').match


def is_columnar(body: bytes) -> bool:
    """Whether `body`, or as much of it as has come, begins as columnar JSON does."""
    return _begins_columnar(body) is not None


@dataclass(frozen=True)
class Size:
    """The largest request of one kind, and the settings that say so."""

    max_body_bytes: int
    max_rows: int
    body_setting: str
    rows_setting: str

    def check_rows(self, rows: int) -> None:
        """Refuse more rows than there may be with a 413 `Problem`."""
        if rows > self.max_rows:
            raise Problem(
                "too-many-rows",
                413,
                "Too many rows",
                f"Such a request may have at most {self.max_rows} rows, found {rows}.",
                fix=f"Send fewer rows at once, or raise {self.rows_setting}.",
            )

    def body_too_large(self) -> Problem:
        """The answer to a body over the limit."""
        return Problem(
            "body-too-large",
            413,
            "The body is too large",
            f"The body of such a request may have at most {self.max_body_bytes} bytes.",
            fix=f"Send fewer rows at once, or raise {self.body_setting}.",
            headers={"connection": "close"},
        )


@dataclass(frozen=True)
class Limits:
    """Every limit of the server; the settings of the same names explain them."""

    max_body_bytes: int
    max_rows: int
    max_batch_body_bytes: int
    max_batch_rows: int
    max_batch_concurrency: int
    max_depth: int
    max_string_length: int
    max_concurrency: int
    timeout_s: float

    @classmethod
    def of(cls, settings: ServingSettings) -> Limits:
        """The limits that the settings name."""
        return cls(
            max_body_bytes=settings.max_body_bytes,
            max_rows=settings.max_rows,
            max_batch_body_bytes=settings.max_batch_body_bytes,
            max_batch_rows=settings.max_batch_rows,
            max_batch_concurrency=settings.max_batch_concurrency,
            max_depth=settings.max_depth,
            max_string_length=settings.max_string_length,
            max_concurrency=settings.max_concurrency,
            timeout_s=settings.request_timeout_s,
        )

    @cached_property
    def request(self) -> Size:
        """A request of one row, or a few."""
        return Size(
            self.max_body_bytes, self.max_rows, "SERVING_MAX_BODY_BYTES", "SERVING_MAX_ROWS"
        )

    @cached_property
    def batch(self) -> Size:
        """A request in a form that is made for many rows."""
        return Size(
            self.max_batch_body_bytes,
            self.max_batch_rows,
            "SERVING_MAX_BATCH_BODY_BYTES",
            "SERVING_MAX_BATCH_ROWS",
        )
