"""What a pass of the follower found, for routes and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from modelyard.errors import ModelyardError


class State(StrEnum):
    """How the last pass ended."""

    STARTING = "starting"
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
        wanted_version: the version that `MODEL_URI` meant then.
        error: why the pass failed, or why the version is refused.
    """

    state: State = State.STARTING
    stale: bool = True
    checked_at: datetime | None = None
    wanted_version: str | None = None
    error: ModelyardError | None = None
