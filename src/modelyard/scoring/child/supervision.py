"""How often a model's children may die, and how many rows to give one of them at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import monotonic

TOO_MANY = 3
WINDOW_S = 60.0
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0


class Deaths:
    """Remembers the deaths of the last `WINDOW_S` seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque()

    def record(self) -> None:
        """Count a death."""
        self._times.append(self._clock())

    @property
    def count(self) -> int:
        """Deaths within the window."""
        while self._times and self._times[0] < self._clock() - WINDOW_S:
            self._times.popleft()
        return len(self._times)

    @property
    def are_too_many(self) -> bool:
        """Whether the model is to blame rather than an accident."""
        return self.count >= TOO_MANY

    @property
    def pause_s(self) -> float:
        """Seconds to wait before the next start: none after the first death, then more and more."""
        count = self.count
        return 0.0 if count <= 1 else min(_FIRST_PAUSE_S * 2.0 ** (count - 2), _LONGEST_PAUSE_S)


class Pace:
    """How many rows a call may have, so that it holds up the others no longer than `budget_s`.

    The first call tells how many, as if each row took its time; afterwards full calls that keep
    the budget double the number, and calls that do not halve it. So a model that takes its time
    whatever the rows gets many of them after all.
    """

    def __init__(self, budget_s: float = 0.5, first_rows: int = 256) -> None:
        self._budget_s = budget_s
        self._rows = float(first_rows)
        self._is_known = False

    def record(self, rows: int, seconds: float) -> None:
        """A call with `rows` rows took that long."""
        if not self._is_known:
            self._is_known = True
            self._rows = max(1.0, self._budget_s * rows / max(seconds, 1e-6))
        elif seconds > self._budget_s:
            self._rows = max(1.0, min(self._rows, rows) / 2)
        elif rows * 2 > self._rows:
            self._rows *= 2

    def rows(self, most: int) -> int:
        """Rows that a call may have: 1 to `most`."""
        self._rows = min(self._rows, 2.0**30)
        return min(most, int(self._rows))
