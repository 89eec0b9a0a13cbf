"""What a pass of the follower found, for routes and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from time import monotonic

from modelyard.errors import ModelyardError, NoModelError


class State(StrEnum):
    """How the last pass ended."""

    STARTING = "starting"
    LOADING = "loading"
    FOLLOWING = "following"
    NOT_FOUND = "not found"
    REFUSED = "refused"
    UNREACHABLE = "registry unreachable"
    FAILED = "failed"


@dataclass(frozen=True)
class FollowerReport:
    """What the last pass found.

    Attributes:
        state: how it ended.
        stale: it did not confirm that what is served is what `MODEL_URI` means.
        checked_at: when the registry last answered.
        checked_at_s: the same by a clock that nobody sets, in seconds.
        wanted_version: the version that `MODEL_URI` meant then.
        error: why the pass failed, or why the version is refused.
    """

    state: State = State.STARTING
    stale: bool = True
    checked_at: datetime | None = None
    checked_at_s: float = 0.0
    wanted_version: str | None = None
    error: ModelyardError | None = None

    def is_stale(self, longest_age_s: float) -> bool:
        """Whether the last pass did not confirm what is served, or is older than this."""
        if self.stale or self.checked_at is None:
            return True
        return monotonic() - self.checked_at_s > longest_age_s

    def absence(self, uri: str) -> NoModelError:
        """Why no model is served under `uri`, and what to do about it."""
        match self.state:
            case State.STARTING:
                return NoModelError(f"The server has just started and is looking for {uri}.")
            case State.LOADING:
                return NoModelError(f"Version {self.wanted_version} of {uri} is being loaded.")
            case State.NOT_FOUND:
                return NoModelError(
                    f"No model is promoted under {uri} yet.",
                    fix="Train one: `docker compose --profile train run --rm training` "
                    "(or `make demo` without Docker).",
                )
            case _:
                fix = self.error.sentence() if self.error else ""
                return NoModelError(f"No model is served yet under {uri}.", fix=fix)
