"""Handing the alias to a version that has just been registered, if the gate lets it pass."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from modelyard.errors import AliasOvertakenError, PromotionConflictError, RegistryError
from modelyard.registry import RegistryClient
from modelyard.registry.promotion import promote
from modelyard.training.judge.gate import Gate, Verdict

_WHY = "trained with promote: auto"
_ATTEMPTS = 3


def hand_over(
    registry: RegistryClient,
    gate: Gate,
    version: str,
    verdict: Verdict,
    who: str,
    say: Callable[[str], None],
) -> bool:
    """Move the alias to `version` when `verdict` passed; whether it was moved.

    Where another training moved the alias since the verdict, the version is judged again, against
    the champion of now, and the new verdict replaces the old one on the version.

    Raises:
        RegistryError: the registry did not do it; the version stays registered.
    """
    name, alias = gate.name, gate.alias
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            if not verdict.passed:
                say(f"alias     {name}@{alias} stays: the gate refused version {version}")
                return False
            try:
                promote(
                    registry, name, alias, version,
                    who=who, why=_WHY, expected=verdict.champion,
                )  # fmt: skip
            except AliasOvertakenError as overtaken:
                say(f"alias     {overtaken.detail}")
                return True
            except PromotionConflictError as conflict:
                if attempt == _ATTEMPTS:
                    raise
                say(f"gate      again: {conflict.detail}")
                verdict = _judge_again(registry, gate, version)
                say(f"gate      {verdict.sentence()}")
            else:
                say(f"alias     {name}@{alias} is version {version} now")
                return True
    except RegistryError as error:
        raise RegistryError(
            f"{name} version {version} is registered, but {alias} could not be moved to it: "
            f"{error.detail}",
            fix=f"Try again: modelyard promote {version} --why …",
        ) from error
    return False


def _judge_again(registry: RegistryClient, gate: Gate, version: str) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="modelyard-candidate-") as folder:
        registry.download(registry.version(gate.name, version), Path(folder))
        verdict = gate.judge(registry, Path(folder))
    for key, value in verdict.tags().items():
        registry.set_version_tag(gate.name, version, key, value)
    return verdict
