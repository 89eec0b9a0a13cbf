"""Moves an alias and records who moved it, when and why.

Each move adds a tag of its own to the registered model; no tag is ever rewritten. Commands move an
alias one after the other (`turns.py`), and each first puts on record what another tool has moved
since. The record is written after the move, so every entry is true; where a command dies in
between, the next one writes it. MLflow has no compare-and-set for aliases: reading the alias right
after the move finds what another tool did at the same moment, and the error says so.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from modelyard.errors import (
    AliasOvertakenError,
    GateRefusedError,
    PromotionConflictError,
    RegistryError,
    RegistryNotFoundError,
    RegistryUnavailableError,
)
from modelyard.registry.client import RegistryClient
from modelyard.registry.lookup import find_aliased, find_model, find_version
from modelyard.registry.moves import (
    Action,
    AliasMove,
    append_move,
    last_move,
    moves_of,
    now_after,
    unrecorded_move,
    versions_before,
)
from modelyard.registry.records import RegisteredModel
from modelyard.registry.turns import Turn
from modelyard.registry.verdict import SENTENCE_TAG, VERDICT_TAG, VerdictWord

_READY = "READY"


def promote(
    registry: RegistryClient,
    name: str,
    alias: str,
    version: str,
    *,
    who: str,
    why: str,
    expected: str | None = None,
    force: bool = False,
) -> AliasMove | None:
    """Point `alias` to `version`; None when it already does.

    Args:
        expected: the version that the alias has to point to now, empty for none; None accepts any.
        force: promote a version that the gate refused, on record.

    Raises:
        RegistryNotFoundError: there is no such version.
        RegistryError: the version is not ready.
        GateRefusedError: the gate refused it, and `force` is not set.
        PromotionConflictError: the alias is not where it was expected; says who moved it.
        AliasOvertakenError: the move is done and on record, and another tool moved the alias again
            at the same moment.
    """
    target = find_version(registry, name, version)
    if target.status != _READY:
        raise RegistryError(
            f"{name} version {target.version} is {target.status}; only a READY version can be "
            "promoted.",
            fix="Train again, or choose another: modelyard versions",
        )
    refused = target.tags.get(VERDICT_TAG) == VerdictWord.REFUSED
    if refused and not force and registry.aliases(name).get(alias) != target.version:
        raise GateRefusedError(
            f"{name} version {target.version}: {target.tags.get(SENTENCE_TAG, 'refused')}.",
            fix=f"To promote it anyway, on record: modelyard promote {target.version} "
            "--force --why …",
        )
    draft = AliasMove(alias, "", target.version, "", who, why, forced=refused)
    with Turn(registry, name, alias) as turn:
        known = _complete(registry, turn, alias, who)
        current = turn.model.aliases.get(alias, "")
        if current == target.version:
            return None
        if expected not in (None, current):
            raise _conflict(registry, name, alias, f"expected {_place(expected)}")
        return _move(registry, turn, known, replace(draft, moved_from=current))


def rollback(
    registry: RegistryClient,
    name: str,
    alias: str,
    *,
    who: str,
    why: str,
    expected: str | None = None,
) -> AliasMove:
    """Point `alias` to where it was before; called again, to the version before that.

    A move that another tool made is taken back like any other, also the removal of the alias.
    Versions that are gone or not ready are skipped, on record. A version that the gate had refused
    is not skipped, and the move says so.

    Args:
        expected: the version to go back from; None accepts any.

    Raises:
        RegistryNotFoundError: the alias was never set, or its record has no earlier version.
        PromotionConflictError, AliasOvertakenError: as `promote`.
    """
    model = find_model(registry, name)
    if not moves_of(model, alias):
        find_aliased(model, alias)
    with Turn(registry, name, alias) as turn:
        known = _complete(registry, turn, alias, who)
        current = turn.model.aliases.get(alias, "")
        if expected not in (None, current):
            raise _conflict(registry, name, alias, f"expected version {expected}")
        ready = {v.version: v.tags for v in registry.versions(name) if v.status == _READY}
        earlier = list(versions_before(known))
        before = next((number for number in earlier if number in ready), None)
        if before is None:
            raise RegistryNotFoundError(
                f"No earlier version of {name}@{alias} is on record; it is at {_place(current)}.",
                fix="Choose one (modelyard versions) and promote it: modelyard promote VERSION "
                "--why …",
            )
        refused = ready[before].get(VERDICT_TAG) == VerdictWord.REFUSED
        passed_over = tuple(dict.fromkeys(earlier[: earlier.index(before)]))
        draft = AliasMove(
            alias, current, before, "", who, why, Action.ROLLBACK, refused, passed_over
        )
        return _move(registry, turn, known, draft)


def notice(
    registry: RegistryClient, model: RegisteredModel, alias: str, who: str
) -> list[AliasMove]:
    """Every move of `alias`; one that `model` has not on record is written, as noticed by `who`.

    A registry that cannot be written to, or read again, costs the record, and not the answer.
    """
    moves = moves_of(model, alias)
    missing = unrecorded_move(model, moves, alias, who)
    if missing is None:
        return moves
    try:
        with Turn(registry, model.name, alias) as turn:
            return _complete(registry, turn, alias, who)
    except RegistryError:
        return [*moves, missing]


def _complete(
    registry: RegistryClient, turn: Turn, alias: str, who: str, model: RegisteredModel | None = None
) -> list[AliasMove]:
    """Every move of `alias`, after the one that was not on record was put there."""
    model = model or turn.model
    moves = moves_of(model, alias)
    missing = unrecorded_move(model, moves, alias, who)
    if missing is None:
        return moves
    for begun in turn.left:  # by a command that died before it recorded it
        if begun.alias == alias and begun.moved_to == missing.moved_to:
            missing = replace(begun, moved_from=missing.moved_from, at=missing.at)
    append_move(registry, model.name, missing)
    return [*moves, missing]


def _move(
    registry: RegistryClient, turn: Turn, known: Sequence[AliasMove], move: AliasMove
) -> AliasMove:
    """Do `move`, and record it."""
    name, alias, version = turn.model.name, move.alias, move.moved_to
    move = replace(move, at=now_after(known).isoformat())
    turn.begin(move)
    try:
        _set_alias(registry, turn.model, alias, version)
    except RegistryUnavailableError:
        turn.keep()  # it may have been done
        raise
    try:
        append_move(registry, name, move)
    except RegistryError as error:
        turn.keep()
        raise type(error)(
            f"{name}@{alias} is version {version} now, and this is not on record yet: "
            f"{error.detail}",
            fix=f"Write the record: modelyard promote {version} --why …",
        ) from error
    after = registry.registered_model(name)
    if after.aliases.get(alias, "") != version:
        _complete(registry, turn, alias, move.who, after)
        raise _conflict(
            registry, name, alias, f"it was moved on right after your move to version {version}, "
            "which is on record", AliasOvertakenError,
        )  # fmt: skip
    return move


def _set_alias(registry: RegistryClient, before: RegisteredModel, alias: str, version: str) -> None:
    try:
        registry.set_alias(before.name, alias, version)
    except RegistryError:
        # when two callers set a new alias at once, MLflow fails one of the two inserts
        now = registry.registered_model(before.name)
        if alias in before.aliases or alias not in now.aliases:
            raise
        registry.set_alias(before.name, alias, version)


def _conflict(
    registry: RegistryClient,
    name: str,
    alias: str,
    reason: str,
    kind: type[PromotionConflictError] = PromotionConflictError,
) -> PromotionConflictError:
    model = registry.registered_model(name)
    current = model.aliases.get(alias, "")
    last = last_move(model, alias)
    by = ""
    if last is not None and last.moved_to == current:
        why = f", {json.dumps(last.why, ensure_ascii=False)}" if last.why else ""
        by = f" ({last.who}, {last.at[:19]} UTC{why})"
    return kind(
        f"{model.name}@{alias} is at {_place(current)}{by}: {reason}.",
        fix="Look at `modelyard history`, agree with each other, then promote or roll back again.",
    )


def _place(version: str) -> str:
    return f"version {version}" if version else "no version"
