"""One route in two trees: how much more it takes, and whether that is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.instructions.counted_server import CountError, StartError

BOUND = 0.03
EVERY_ROUTE = "all"


@dataclass(frozen=True)
class Comparison:
    """Instructions of one answer.

    Args:
        before: or the error that kept it from being counted: the route is new. When that tree's
            server did not start at all, nothing was compared, which is a failure too.
        now: or the error, which is a failure.
        accepted: route → why it may take more.
    """

    route: str
    before: float | CountError
    now: float | CountError
    accepted: Mapping[str, str]

    @property
    def is_failure(self) -> bool:
        """Whether the route takes more than it may, or is not answered."""
        if isinstance(self.now, CountError):
            return True
        is_slower = isinstance(self.before, StartError) or self._change() > BOUND
        return is_slower and not self._reason()

    def line(self) -> str:
        """What was counted and what follows."""
        if isinstance(self.now, CountError):
            return f"{self.route:20} {self.now}"
        if isinstance(self.before, CountError):
            why = "not compared" if isinstance(self.before, StartError) else "new"
            return f"{self.route:20} {'':>11} {self.now:11,.0f}      {why}: {self.before}"
        said = f"{self.route:20} {self.before:11,.0f} {self.now:11,.0f} {self._change():+8.1%}"
        if self._change() <= BOUND:
            return said
        return f"{said}  accepted: {self._reason()}" if self._reason() else f"{said}  too much"

    def _change(self) -> float:
        if isinstance(self.before, CountError) or isinstance(self.now, CountError):
            return 0.0
        return self.now / self.before - 1

    def _reason(self) -> str:
        return self.accepted.get(self.route) or self.accepted.get(EVERY_ROUTE, "")
