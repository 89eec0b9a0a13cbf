"""`modelyard versions`: what is registered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer

from modelyard.cli.connection import AsJson, Model, open_registry
from modelyard.cli.output import moment, short, show_json, show_rows
from modelyard.registry import ModelVersion
from modelyard.registry.lookup import TRAIN_FIRST, EmptyRegistryError, find_model
from modelyard.registry.verdict import SENTENCE_TAG, VERDICT_TAG, numbers_of


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(versions)


def versions(model: Model = None, as_json: AsJson = False) -> None:
    """List the registered versions, newest first."""
    aliases: Mapping[str, str] = {}
    found: list[ModelVersion] = []
    name = model or "the registry"
    try:
        with open_registry(model) as (registry, name):
            aliases = find_model(registry, name).aliases
            found = list(registry.versions(name))
    except EmptyRegistryError:
        pass
    if as_json:
        show_json([_facts(version, aliases) for version in found])
    elif found:
        rows = [_row(version, aliases) for version in found]
        show_rows(f"{name}: versions (* with local changes)", rows, wrap=("aliases",))
    else:
        typer.echo(f"{name}: no versions yet; {TRAIN_FIRST}")


def _facts(version: ModelVersion, aliases: Mapping[str, str]) -> dict[str, Any]:
    tags = version.tags
    return {
        "version": version.version,
        "aliases": _aliases_of(version, aliases),
        "created": _created(version).isoformat(timespec="seconds"),
        "run": version.run_id,
        "commit": tags.get("git.commit", ""),
        "dirty": tags.get("git.dirty", ""),
        "data md5": tags.get("data.md5", ""),
        "status": version.status,
        "gate": tags.get(VERDICT_TAG, ""),
        "gate sentence": tags.get(SENTENCE_TAG, ""),
        "gate numbers": numbers_of(tags),
    }


def _row(version: ModelVersion, aliases: Mapping[str, str]) -> dict[str, str]:
    numbers, tags = numbers_of(version.tags), version.tags
    score = numbers.get("candidate")
    ready = version.status == "READY"
    return {
        "version": version.version,
        "aliases": _aliases_of(version, aliases),
        "gate": tags.get(VERDICT_TAG, "-") if ready else version.status,
        "score": f"{numbers.get('metric')} {score:.4f}" if isinstance(score, float) else "-",
        "created (UTC)": moment(version.created_ms),
        "commit": short(tags.get("git.commit", "-")) + ("*" * (tags.get("git.dirty") == "true")),
        "data": short(tags.get("data.md5", "-")),
        "run": short(version.run_id) or "-",
    }


def _aliases_of(version: ModelVersion, aliases: Mapping[str, str]) -> str:
    return ", ".join(alias for alias, to in aliases.items() if to == version.version)


def _created(version: ModelVersion) -> datetime:
    return datetime.fromtimestamp(version.created_ms / 1000, UTC)
