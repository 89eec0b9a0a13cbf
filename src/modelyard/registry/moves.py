"""The record of an alias's moves, one tag of the registered model each, and the way back.

Tags are only ever added. Their keys hold the time of the move, so that they sort as it happened.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
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
    """What a move was meant as; a rollback takes back the moves that it undoes."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"


def _moment(text: str) -> str:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None or not MINYEAR < at.year < MAXYEAR:  # nothing to reckon with
        raise ValueError("expected a time with its offset from UTC")
    return text


Number = Annotated[str, Field(pattern="^[1-9][0-9]{0,8}$")]
NoNumber = Annotated[str, Field(pattern="^$")]


@dataclass(frozen=True)
class Promotion:
    """One move of an alias. `moved_from` is empty for the first; `at` is UTC, ISO 8601.

    `forced` marks a version that the gate had refused, `passed_over` the versions that a rollback
    went by because they are gone or not ready.
    """

    alias: str
    moved_from: Number | NoNumber
    moved_to: Number
    at: Annotated[str, AfterValidator(_moment)]
    who: str
    why: str
    action: Action = Action.PROMOTE
    forced: bool = False
    passed_over: tuple[Number, ...] = ()


_RECORD = TypeAdapter(Promotion)


def history(registry: RegistryClient, name: str, alias: str) -> list[Promotion]:
    """Every recorded move of `alias`, oldest first."""
    return moves_of(registry.registered_model(name), alias)


def last_move(model: RegisteredModel, alias: str) -> Promotion | None:
    """The latest recorded move of `alias`."""
    return next(reversed(moves_of(model, alias)), None)


def append_move(registry: RegistryClient, name: str, move: Promotion) -> None:
    """Write `move` into the record of the registered model `name`."""
    at = datetime.fromisoformat(move.at)
    key = f"{_TAG}.{move.alias}.{at:%Y%m%dT%H%M%S.%f}.{secrets.token_hex(3)}"
    short = replace(move, why=move.why[:_LONGEST_REASON])
    registry.set_model_tag(name, key, json.dumps(asdict(short)))


def now_after(moves: Sequence[Promotion]) -> datetime:
    """Now, or just after the last move where this machine's clock lags behind."""
    now = datetime.now(UTC)
    if not moves:
        return now
    return max(now, datetime.fromisoformat(moves[-1].at) + timedelta(microseconds=1))


def moves_of(model: RegisteredModel, alias: str) -> list[Promotion]:
    """Every recorded move of `alias`, oldest first."""
    prefix = f"{_TAG}.{alias}."
    found = (_read(model.tags[key]) for key in sorted(model.tags) if key.startswith(prefix))
    return [move for move in found if move is not None and move.alias == alias]


def aliases_on_record(model: RegisteredModel) -> list[str]:
    """The aliases that were ever moved, whether they still are set or not."""
    keys = (key.split(".") for key in model.tags if key.startswith(f"{_TAG}."))
    return sorted({parts[2] for parts in keys})


def versions_before(moves: Sequence[Promotion], current: str) -> Iterator[str]:
    """The versions that led to `current`, the latest first; what was rolled back is left out."""
    path: list[str] = []
    for move in moves:
        if move.moved_from and move.moved_from not in path:  # got there by another tool
            path.append(move.moved_from)
        if move.action == Action.ROLLBACK:
            path = _up_to(path, move.moved_to)
        elif path[-1:] != [move.moved_to]:
            path.append(move.moved_to)
    if current in path:
        path = _up_to(path, current)[:-1]
    return (version for version in reversed(path) if version != current)


def _read(text: str) -> Promotion | None:
    """The move in a tag; None for one that somebody wrote by hand and that is none."""
    try:
        return _RECORD.validate_json(text, strict=True)
    except ValidationError:
        return None


def _up_to(path: list[str], version: str) -> list[str]:
    """`path` until where it was last at `version`; with `version` at its end in any case."""
    last = max((i for i, at in enumerate(path) if at == version), default=len(path))
    return [*path[:last], version]
