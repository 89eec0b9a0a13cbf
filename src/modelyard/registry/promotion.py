"""Moves an alias and records who moved it, when and why.

Each move adds a tag of its own to the registered model; no tag is ever rewritten. The record is
written after the move, so every entry is true. If writing it fails, running the command again
writes it. MLflow has no compare-and-set for aliases: reading the alias right before and right after
the move finds what others did in between, and the error says so.
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
    versions_before,
)
from modelyard.registry.records import RegisteredModel
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
    """Point `alias` to `version`; None when it already does, and the move is on record.

    Args:
        expected: the version that the alias has to point to now, empty for none; None accepts any.
        force: promote a version that the gate refused, on record.

    Raises:
        RegistryNotFoundError: there is no such version.
        RegistryError: the version is not ready.
        GateRefusedError: the gate refused it, and `force` is not set.
        PromotionConflictError: the alias is not where it was expected; says who moved it.
        AliasOvertakenError: the move is done and on record, and someone else moved the alias again
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
    return _move(registry, name, draft, expected)


def rollback(
    registry: RegistryClient,
    name: str,
    alias: str,
    *,
    who: str,
    why: str,
    expected: str | None = None,
) -> AliasMove:
    """Point `alias` to its previous version; called again, to the one before that.

    Versions that are gone or not ready are skipped, on record. A version that the gate had refused
    is not skipped, and the move says so.

    Args:
        expected: the version to go back from; None accepts any.

    Raises:
        RegistryNotFoundError: the alias is not set, or its record has no earlier version.
        PromotionConflictError, AliasOvertakenError: as `promote`.
    """
    model = find_model(registry, name)
    current = find_aliased(model, alias)
    if expected not in (None, current):
        raise _conflict(model, alias, f"expected version {expected}")
    ready = {v.version: v.tags for v in registry.versions(name) if v.status == _READY}
    earlier = list(versions_before(moves_of(model, alias), current))
    before = next((number for number in earlier if number in ready), None)
    if before is None:
        raise RegistryNotFoundError(
            f"No earlier version of {name}@{alias} is on record; it is at version {current}.",
            fix="Choose one (modelyard versions) and promote it: modelyard promote VERSION --why …",
        )
    refused = ready[before].get(VERDICT_TAG) == VerdictWord.REFUSED
    passed_over = tuple(dict.fromkeys(earlier[: earlier.index(before)]))
    draft = AliasMove(alias, "", before, "", who, why, Action.ROLLBACK, refused, passed_over)
    moved = _move(registry, name, draft, current)
    if moved is None:  # another rollback came first
        raise _conflict(registry.registered_model(name), alias, f"expected version {current}")
    return moved


def _move(
    registry: RegistryClient, name: str, draft: AliasMove, expected: str | None
) -> AliasMove | None:
    """Do the move `draft`, filling in `moved_from` and `at`; None when it is already done."""
    alias, version = draft.alias, draft.moved_to
    before = registry.registered_model(name)
    current = before.aliases.get(alias, "")
    known = moves_of(before, alias)
    if current == version and known and known[-1].moved_to == version:
        return None
    if current == version:  # moved by another tool, or before its record could be written
        moved_from = known[-1].moved_to if known else ""
    else:
        if expected not in (None, current):
            raise _conflict(before, alias, f"expected {_place(expected)}")
        _set_alias(registry, before, alias, version, expected)
        moved_from = current
    move = _record(registry, name, known, replace(draft, moved_from=moved_from))
    after = registry.registered_model(name)
    if after.aliases.get(alias, "") != version:
        raise _conflict(
            after, alias, f"it was moved on right after your move to version {version}, which is "
            "on record", AliasOvertakenError,
        )  # fmt: skip
    return move


def _set_alias(
    registry: RegistryClient,
    before: RegisteredModel,
    alias: str,
    version: str,
    expected: str | None,
) -> None:
    try:
        registry.set_alias(before.name, alias, version)
    except RegistryError:
        # when two callers set a new alias at once, MLflow fails one of the two inserts
        now = registry.registered_model(before.name)
        if alias in before.aliases or alias not in now.aliases:
            raise
        if expected is not None:
            raise _conflict(now, alias, f"expected {_place(expected)}") from None
        registry.set_alias(before.name, alias, version)


def _record(
    registry: RegistryClient, name: str, known: Sequence[AliasMove], move: AliasMove
) -> AliasMove:
    try:
        moves = moves_of(registry.registered_model(name), move.alias)
        if between := [other for other in moves if other not in known]:
            # someone else moved the alias in between: it came from there
            move = replace(move, moved_from=between[-1].moved_to)
        move = replace(move, at=now_after(moves).isoformat())
        append_move(registry, name, move)
    except RegistryError as error:
        raise type(error)(
            f"{name}@{move.alias} is version {move.moved_to} now, and this is not on record yet: "
            f"{error.detail}",
            fix=f"Write the record: modelyard promote {move.moved_to} --why …",
        ) from error
    return move


def _conflict(
    model: RegisteredModel,
    alias: str,
    reason: str,
    kind: type[PromotionConflictError] = PromotionConflictError,
) -> PromotionConflictError:
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
