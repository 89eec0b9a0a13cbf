"""The chosen split of the predictions, and the folder that keeps it."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelyard.errors import TrafficError

DEFAULT_HEADER = "X-User-Id"
"""The header whose value keeps its arm; a request without it is assigned at random."""

_FILE, _LOCK = "plan.json", "plan.lock"
_TEN_THOUSANDTHS = 100  # in a percent


class Mode(StrEnum):
    """How predictions are split."""

    OFF = "off"
    CANARY = "canary"
    AB = "ab"
    SHADOW = "shadow"


Percent = Annotated[float, Field(ge=0.01, le=100)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class Plan(BaseModel):
    """A split, and who chose it, when and why.

    `aborted` is why the split before it, whose id is `ended`, ended by itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = Mode.OFF
    share_percent: Percent | None = None
    header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] | None = None
    id: Id = Field(default_factory=lambda: secrets.token_hex(4))
    changed_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    changed_by: str = ""
    why: str = ""
    aborted: str = ""
    ended: Id | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.share_percent is not None) != (self.mode in {Mode.CANARY, Mode.AB}):
            raise ValueError("canary and ab have a share of the predictions, off and shadow none")
        if (self.header is not None) != (self.mode is Mode.AB):
            raise ValueError("ab has a header, the others have none")
        return self

    @property
    def entry(self) -> str:
        """The plan as the gateway's map holds it: MODE:SHARE:HEADER, the share in ten thousandths.

        The id of a split that ended by itself is in the header's place, so that the gateway
        remembers it when the disk is full.
        """
        share = "" if self.share_percent is None else round(self.share_percent * _TEN_THOUSANDTHS)
        return f"{self.mode}:{share}:{self.header or self.ended or ''}"

    def describe(self) -> str:
        """What happens to predictions under this plan."""
        match self.mode:
            case Mode.CANARY:
                return f"canary: {self.share_percent:g} % go to the challenger"
            case Mode.AB:
                return (
                    f"A/B: {self.share_percent:g} % of the keys go to the challenger; "
                    f"the key is {self.header}, a request without it is assigned at random"
                )
            case Mode.SHADOW:
                return "shadow: the champion answers, the challenger gets copies"
            case _:
                return "off: the champion answers everything"

    def abort(self, reason: str) -> Plan:
        """The plan that sends everything back to the champion, because of `reason`."""
        return Plan(
            changed_by="modelyard (automatic)",
            aborted=reason,
            ended=self.id,
            why=self.describe(),
        )


class PlanStore:
    """The plan in a folder that outlives processes; one writer at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> Plan:
        """The saved plan; "off" where there is none.

        Raises:
            TrafficError: the file cannot be read or is not a plan.
        """
        path = self._folder / _FILE
        try:
            return Plan.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return Plan(id="none", changed_at=datetime.fromtimestamp(0, UTC))
        except (OSError, ValidationError) as error:
            raise TrafficError(
                f"The plan in {path} cannot be read ({type(error).__name__}).",
                fix="modelyard traffic --off writes a new one.",
            ) from error

    def write(self, plan: Plan) -> None:
        """Save `plan`.

        Raises:
            TrafficError: the folder cannot be written.
        """
        with self._locked():
            self._replace(plan)

    def exchange(self, old: Plan, new: Plan) -> bool:
        """Save `new` if `old` is still the saved plan; return whether it was."""
        with self._locked():
            if self.read().id != old.id:
                return False
            self._replace(new)
            return True

    def _replace(self, plan: Plan) -> None:
        draft = self._folder / f"{_FILE}.{plan.id}"
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(plan.model_dump_json(indent=2))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._folder / _FILE)
        except OSError:
            draft.unlink(missing_ok=True)  # an incomplete file on a full disk
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with (self._folder / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise TrafficError(
                f"The plan cannot be written into {self._folder} ({error.strerror}).",
                fix="It is written where the service `traffic` runs (make traffic ARGS=...), on a "
                "disk with free space. While that service is stopped, the champion answers "
                "everything: docker compose stop traffic",
            ) from error
