"""The record of an alias's moves, one tag of the registered model each, and the way back.

Tags are only ever added. Their keys hold the time of the move, so they sort in order of time. Read
together they are a chain: each move begins where the one before it ended. A move that another tool
made, or MLflow itself as it deleted a version, is put on record as soon as it is noticed; what an
earlier release left out is filled in as it is read.
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
_UNKNOWN = "unknown"
_LONGEST_REASON = 2_000  # characters; the registry's database holds 5,000 a tag


class Action(StrEnum):
    """The purpose of a move; a rollback takes back the moves that it undoes.

    A move that was observed was made by another tool: why is not known, and `at` is when it was
    noticed.
    """

    PROMOTE = "promote"
    ROLLBACK = "rollback"
    OBSERVED = "observed"


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

    `moved_to` is empty where the alias was removed, which is only ever observed.
    `forced` tells that the gate had refused the version; `passed_over` are the versions that a
    rollback skipped because they are gone or not ready.
    """

    alias: str
    moved_from: Number | NoNumber
    moved_to: Number | NoNumber
    at: Annotated[str, AfterValidator(_check_time)]
    who: str
    why: str
    action: Action = Action.PROMOTE
    forced: bool = False
    passed_over: tuple[Number, ...] = ()

    def shortened(self) -> AliasMove:
        """As the registry can keep it."""
        why = self.why[:_LONGEST_REASON].encode("utf-8", "replace").decode()
        return replace(self, why=why)


_RECORD = TypeAdapter(AliasMove)


def read_move(text: str) -> AliasMove | None:
    """The move in `text`; None when it holds none."""
    with suppress(ValidationError):  # written by hand, and no record
        move = _RECORD.validate_json(text, strict=True)
        if move.moved_to or move.action is Action.OBSERVED:
            return move
    return None


def last_move(model: RegisteredModel, alias: str) -> AliasMove | None:
    """The latest recorded move of `alias`."""
    return next(reversed(moves_of(model, alias)), None)


def append_move(registry: RegistryClient, name: str, move: AliasMove) -> None:
    """Add `move` to the record of the registered model `name`."""
    at = datetime.fromisoformat(move.at)
    key = f"{_TAG}.{move.alias}.{at:%Y%m%dT%H%M%S.%f}.{secrets.token_hex(3)}"
    text = json.dumps(asdict(move.shortened()), ensure_ascii=False)
    registry.set_model_tag(name, key, text)


def now_after(moves: Sequence[AliasMove]) -> datetime:
    """Now, or just after the last move if this machine's clock is behind."""
    now = datetime.now(UTC)
    if not moves:
        return now
    return max(now, datetime.fromisoformat(moves[-1].at) + timedelta(microseconds=1))


def moves_of(model: RegisteredModel, alias: str) -> list[AliasMove]:
    """Every move of `alias` on record, oldest first; each begins where the one before it ended."""
    chain: list[AliasMove] = []
    place = ""
    for move in _records(model, alias):
        if move.action is Action.OBSERVED:
            if move.moved_to == place:  # two noticed it
                continue
            chain.append(replace(move, moved_from=place))
        else:
            if move.moved_from != place:
                chain.append(observed_move(alias, place, move.moved_from, move.at))
            chain.append(move)
        place = move.moved_to
    return chain


def observed_move(
    alias: str, moved_from: str, moved_to: str, at: str, noticed_by: str = ""
) -> AliasMove:
    """A move that another tool made."""
    what = "moved by hand or by another tool" if moved_to else "removed, or its version was deleted"
    by = f" by {noticed_by}" if noticed_by else ", with the next move"
    why = f"{what}; noticed at {at[:19]} UTC{by}"
    return AliasMove(alias, moved_from, moved_to, at, _UNKNOWN, why, Action.OBSERVED)


def unrecorded_move(
    model: RegisteredModel, moves: Sequence[AliasMove], alias: str, who: str
) -> AliasMove | None:
    """The move that is missing at the end of `moves`, as noticed by `who`; None when none is."""
    place = moves[-1].moved_to if moves else ""
    current = model.aliases.get(alias, "")
    if current == place:
        return None
    return observed_move(alias, place, current, now_after(moves).isoformat(), who)


def aliases_on_record(model: RegisteredModel) -> list[str]:
    """The aliases that were ever moved, including those that are no longer set."""
    keys = (key.split(".") for key in model.tags if key.startswith(f"{_TAG}."))
    return sorted({parts[2] for parts in keys})


def versions_before(moves: Sequence[AliasMove]) -> Iterator[str]:
    """The versions before the one that `moves` lead to, latest first.

    A rollback takes back the moves that it undid; every other move, whoever made it, is one that
    can be taken back.
    """
    path: list[str] = []
    for move in moves:
        if move.action is Action.ROLLBACK:
            path = _up_to(path, move.moved_to)
        else:
            path.append(move.moved_to)
    current = path[-1] if path else ""
    return (version for version in reversed(path[:-1]) if version not in ("", current))


def _records(model: RegisteredModel, alias: str) -> Iterator[AliasMove]:
    for key in sorted(key for key in model.tags if key.startswith(f"{_TAG}.{alias}.")):
        move = read_move(model.tags[key])
        if move is not None and move.alias == alias:
            yield move


def _up_to(path: list[str], version: str) -> list[str]:
    """`path` up to the last place of `version`, which is at its end in any case."""
    last = max((i for i, at in enumerate(path) if at == version), default=len(path))
    return [*path[:last], version]
