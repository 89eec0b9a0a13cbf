"""A limit on log lines of one kind: the metrics count, the log shows examples.

A client that sends garbage sixty thousand times a second would otherwise fill the disk, and keep
the server busy with log lines instead of answers.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class LineLimit:
    """Admits `lines` a second of each kind; `kinds` must be few.

    Args:
        lines: the most in one second.
        clock: seconds, from any starting point.
    """

    def __init__(self, lines: int, clock: Callable[[], float] = monotonic) -> None:
        self._lines = lines
        self._clock = clock
        self._second: dict[str, int] = {}
        self._admitted: dict[str, int] = {}
        self._skipped: dict[str, int] = {}

    def admit(self, kind: str) -> int | None:
        """How many lines of this kind were skipped before this one; None to skip it too."""
        second = int(self._clock())
        if self._second.get(kind) != second:
            self._second[kind] = second
            self._admitted[kind] = 0
        if self._admitted[kind] >= self._lines:
            self._skipped[kind] = self._skipped.get(kind, 0) + 1
            return None
        self._admitted[kind] += 1
        return self._skipped.pop(kind, 0)
