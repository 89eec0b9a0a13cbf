"""A version that could not be taken up: why, and from when on it is worth trying again."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

from modelyard.errors import ModelDamagedError, ModelyardError
from modelyard.serving.following.cache import Identity
from modelyard.serving.following.report import State

_LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True)
class Setback:
    """Holds for one version.

    Attributes:
        until: moment of the monotonic clock, in seconds; infinite after a verdict on its files.
    """

    version: Identity
    state: State
    error: ModelyardError
    attempts: int = 1
    until: float = float("inf")

    @classmethod
    def refused(cls, version: Identity, error: ModelyardError) -> Setback:
        """A verdict: the files will be no better the next time."""
        return cls(version, State.REFUSED, error)

    @classmethod
    def postponed(
        cls, version: Identity, error: ModelyardError, before: Setback | None, interval_s: float
    ) -> Setback:
        """It ran out of time or memory, or is damaged: tried again after a pause, which doubles."""
        state = State.REFUSED if isinstance(error, ModelDamagedError) else State.FAILED
        attempts = 1 if before is None else before.attempts + 1
        pause_s = min(interval_s * 2.0**attempts, _LONGEST_PAUSE_S)
        return cls(version, state, error, attempts, monotonic() + pause_s)

    @property
    def is_over(self) -> bool:
        """Whether the version may be tried again."""
        return monotonic() >= self.until
