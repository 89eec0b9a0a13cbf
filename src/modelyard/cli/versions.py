"""`modelyard versions`: the versions of a registered model."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from modelyard.cli.connection import JsonOption, ModelOption, open_registry
from modelyard.cli.output import format_time, shorten, show_json, show_rows
from modelyard.registry import ModelVersion
from modelyard.registry.lookup import TRAIN_FIRST, EmptyRegistryError, find_model
from modelyard.registry.verdict import SENTENCE_TAG, VERDICT_TAG, numbers_of


def add_commands(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(versions)


def versions(model: ModelOption = None, as_json: JsonOption = False) -> None:
    """List the registered versions, newest first."""
    pointing: Mapping[str, str] = {}
    found: list[ModelVersion] = []
    name = model or "the registry"
    try:
        with open_registry(model) as (registry, name):
            pointing = find_model(registry, name).aliases
            found = list(registry.versions(name))
    except EmptyRegistryError:
        pass
    aliases = {
        version.version: ", ".join(alias for alias, to in pointing.items() if to == version.version)
        for version in found
    }
    if as_json:
        show_json(
            [
                {
                    "version": version.version,
                    "aliases": aliases[version.version],
                    "created": version.created.isoformat(timespec="seconds"),
                    "run": version.run_id,
                    "commit": version.tags.get("git.commit", ""),
                    "dirty": version.tags.get("git.dirty", ""),
                    "data md5": version.tags.get("data.md5", ""),
                    "status": version.status,
                    "gate": version.tags.get(VERDICT_TAG, ""),
                    "gate sentence": version.tags.get(SENTENCE_TAG, ""),
                    "gate numbers": numbers_of(version.tags),
                }
                for version in found
            ]
        )
    elif found:
        rows = [_row(version, aliases[version.version]) for version in found]
        show_rows(f"{name}: versions (* with local changes)", rows, wrap=("aliases",))
    else:
        typer.echo(f"{name}: no versions yet; {TRAIN_FIRST}")


def _row(version: ModelVersion, aliases: str) -> dict[str, str]:
    numbers, tags = numbers_of(version.tags), version.tags
    score = numbers.get("candidate")
    ready = version.status == "READY"
    return {
        "version": version.version,
        "aliases": aliases,
        "gate": tags.get(VERDICT_TAG, "-") if ready else version.status,
        "score": f"{numbers.get('metric')} {score:.4f}" if isinstance(score, float) else "-",
        "created (UTC)": format_time(version.created),
        "commit": shorten(tags.get("git.commit", "-")) + ("*" * (tags.get("git.dirty") == "true")),
        "data": shorten(tags.get("data.md5", "-")),
        "run": shorten(version.run_id) or "-",
    }
