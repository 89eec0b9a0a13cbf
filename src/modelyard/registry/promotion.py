"""Moving an alias, and the record of who moved it, when and why.

Each move appends one tag of its own to the registered model; no tag is ever rewritten. MLflow has
no compare-and-set for aliases: the record is written after the move, so that every entry is true.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from modelyard.errors import RegistryError, RegistryNotFoundError
from modelyard.registry.client import RegistryClient

_TAG = "modelyard.promotion"
_READY = "READY"
_LONGEST_REASON = 2_000  # characters; the registry's database holds 5,000 a tag


@dataclass(frozen=True)
class Promotion:
    """One move of an alias. `moved_from` is empty for the first."""

    alias: str
    moved_from: str
    moved_to: str
    at: str
    who: str
    why: str


def promote(
    registry: RegistryClient, name: str, alias: str, version: str, *, who: str, why: str
) -> Promotion | None:
    """Let `alias` point to `version`; None when it does already.

    Raises:
        RegistryNotFoundError: no such version.
        RegistryError: the version is not ready.
    """
    target = registry.version(name, version)
    if target.status != _READY:
        raise RegistryError(
            f"{name} version {version} is {target.status}; only a READY version can be promoted."
        )
    before = registry.aliases(name).get(alias, "")
    if before == target.version:
        return None
    registry.set_alias(name, alias, target.version)
    now = datetime.now(UTC)
    move = Promotion(
        alias, before, target.version, now.isoformat(timespec="milliseconds"), who,
        why[:_LONGEST_REASON],
    )  # fmt: skip
    key = f"{_TAG}.{alias}.{now:%Y%m%dT%H%M%S.%f}.{secrets.token_hex(3)}"
    registry.set_model_tag(name, key, json.dumps(asdict(move)))
    return move


def rollback(registry: RegistryClient, name: str, alias: str, *, who: str, why: str) -> Promotion:
    """Let `alias` point to the version it had before the one it has now.

    Raises:
        RegistryNotFoundError: the alias is not set, or its record names no version before.
    """
    current = registry.aliased(name, alias).version
    for move in reversed(history(registry, name, alias)):
        if move.moved_to == current and move.moved_from:
            done = promote(registry, name, alias, move.moved_from, who=who, why=why)
            if done is not None:
                return done
    raise RegistryNotFoundError(
        f"No earlier version of {name}@{alias} is on record; it is at version {current}.",
        fix="Choose one (modelyard versions) and promote it: modelyard promote VERSION --why …",
    )


def history(registry: RegistryClient, name: str, alias: str) -> list[Promotion]:
    """Every recorded move of `alias`, oldest first."""
    prefix = f"{_TAG}.{alias}."
    tags = registry.model_tags(name)
    return [Promotion(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(prefix)]
