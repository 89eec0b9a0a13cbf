"""The record of an alias's moves, one tag of the registered model each, and the way back.

Tags are only ever added. Their keys hold the time of the move, so they sort in order of time.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from modelyard.registry.client import RegistryClient
from modelyard.registry.records import RegisteredModel

_TAG = "modelyard.promotion"
_LONGEST_REASON = 2_000  # characters; the registry's database holds 5,000 a tag


class Action(StrEnum):
    """The purpose of a move; a rollback takes back the moves that it undoes."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"


def _check_time(text: str) -> str:
    at = datetime.fromisoformat(text)
    # the first and the last year leave no room for adding an offset
    if at.tzinfo is None or not MINYEAR < at.year < MAXYEAR:
        raise ValueError("expected a time with its offset from UTC")
    return text


Number = Annotated[str, Field(pattern="^[1-9][0-9]{0,8}$")]
NoNumber = Annotated[str, Field(pattern="^$")]


@dataclass(frozen=True)
class AliasMove:
    """One move of an alias. `moved_from` is empty for the first; `at` is UTC, ISO 8601.

    `forced` tells that the gate had refused the version; `passed_over` are the versions that a
    rollback skipped because they are gone or not ready.
    """

    alias: str
    moved_from: Number | NoNumber
    moved_to: Number
    at: Annotated[str, AfterValidator(_check_time)]
    who: str
    why: str
    action: Action = Action.PROMOTE
    forced: bool = False
    passed_over: tuple[Number, ...] = ()


_RECORD = TypeAdapter(AliasMove)


def last_move(model: RegisteredModel, alias: str) -> AliasMove | None:
    """The latest recorded move of `alias`."""
    return next(reversed(moves_of(model, alias)), None)


def append_move(registry: RegistryClient, name: str, move: AliasMove) -> None:
    """Add `move` to the record of the registered model `name`."""
    at = datetime.fromisoformat(move.at)
    key = f"{_TAG}.{move.alias}.{at:%Y%m%dT%H%M%S.%f}.{secrets.token_hex(3)}"
    short = replace(move, why=move.why[:_LONGEST_REASON])
    registry.set_model_tag(name, key, json.dumps(asdict(short)))


def now_after(moves: Sequence[AliasMove]) -> datetime:
    """Now, or just after the last move if this machine's clock is behind."""
    now = datetime.now(UTC)
    if not moves:
        return now
    return max(now, datetime.fromisoformat(moves[-1].at) + timedelta(microseconds=1))


def moves_of(model: RegisteredModel, alias: str) -> list[AliasMove]:
    """Every recorded move of `alias`, oldest first."""
    moves = []
    for key in sorted(key for key in model.tags if key.startswith(f"{_TAG}.{alias}.")):
        with suppress(ValidationError):  # a tag that was written by hand and is no record
            moves.append(_RECORD.validate_json(model.tags[key], strict=True))
    return [move for move in moves if move.alias == alias]


def aliases_on_record(model: RegisteredModel) -> list[str]:
    """The aliases that were ever moved, including those that are no longer set."""
    keys = (key.split(".") for key in model.tags if key.startswith(f"{_TAG}."))
    return sorted({parts[2] for parts in keys})


def versions_before(moves: Sequence[AliasMove], current: str) -> Iterator[str]:
    """The versions before `current`, latest first, without those that were rolled back."""
    path: list[str] = []
    for move in moves:
        if move.moved_from and move.moved_from not in path:  # another tool moved it there
            path.append(move.moved_from)
        if move.action == Action.ROLLBACK:
            path = _up_to(path, move.moved_to)
        elif path[-1:] != [move.moved_to]:
            path.append(move.moved_to)
    if current in path:
        path = _up_to(path, current)[:-1]
    return (version for version in reversed(path) if version != current)


def _up_to(path: list[str], version: str) -> list[str]:
    """`path` up to the last place of `version`, which is at its end in any case."""
    last = max((i for i, at in enumerate(path) if at == version), default=len(path))
    return [*path[:last], version]
