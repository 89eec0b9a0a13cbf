"""`modelyard versions` and `status`: what is registered, where aliases point, what is served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import typer

from modelyard.cli.connection import AsJson, Model, open_registry
from modelyard.cli.output import moment, short, show_fields, show_json, show_rows
from modelyard.errors import RegistryNotFoundError
from modelyard.registry import ModelVersion, RegisteredModel
from modelyard.registry.moves import last_move
from modelyard.registry.verdict import NUMBERS_TAG, SENTENCE_TAG, VERDICT_TAG
from modelyard.settings import CommandSettings, read_settings

_SERVER_TIMEOUT_S = 3.0
_TRAIN_FIRST = (
    "train the first: docker compose --profile train run --rm training (or make train, make demo)"
)


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(versions)
    app.command()(status)


def versions(model: Model = None, as_json: AsJson = False) -> None:
    """List the registered versions, newest first."""
    with open_registry(model) as (registry, name):
        aliases = registry.aliases(name)
        found = list(registry.versions(name))
    if as_json:
        show_json([_facts(version, aliases) for version in found])
    elif found:
        rows = [_row(version, aliases) for version in found]
        show_rows(f"{name}: versions (* with local changes)", rows, wrap=("aliases",))
    else:
        typer.echo(f"{name}: no versions yet; {_TRAIN_FIRST}")


def status(model: Model = None, as_json: AsJson = False) -> None:
    """Show where the aliases point, since when and by whom, and what the server serves."""
    settings = read_settings(CommandSettings)
    with open_registry(model) as (registry, name):
        try:
            registered = registry.registered_model(name)
        except RegistryNotFoundError:
            registered = RegisteredModel(name, {}, {})
    served = _served(settings.serving_url)
    if as_json:
        aliases = dict(registered.aliases)
        places = {"registry": settings.mlflow_tracking_uri, "server": settings.serving_url}
        show_json({"model": name, "aliases": aliases, **places, "serves": served})
        return
    aliases = {f"@{alias}": _alias(registered, alias) for alias in sorted(registered.aliases)}
    show_fields(
        name,
        {
            "registry": {
                "address": settings.mlflow_tracking_uri,
                **(aliases or {"aliases": f"none; {_TRAIN_FIRST}"}),
            },
            "server": {"address": settings.serving_url, "serves": served},
        },
    )


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
        "gate numbers": _numbers(version),
    }


def _row(version: ModelVersion, aliases: Mapping[str, str]) -> dict[str, str]:
    numbers, tags = _numbers(version), version.tags
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


def _numbers(version: ModelVersion) -> dict[str, Any]:
    try:
        value = json.loads(version.tags.get(NUMBERS_TAG, "{}"))
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _alias(model: RegisteredModel, alias: str) -> str:
    version, move = model.aliases[alias], last_move(model, alias)
    if move is None or move.moved_to != version:
        return f"version {version} (not moved by modelyard: nothing is on record)"
    why = f": {move.why}" if move.why else ""
    return f"version {version} since {moment(move.at)} UTC, by {move.who}{why}"


def _served(url: str) -> str:
    try:
        answer = httpx.get(f"{url}/model", timeout=_SERVER_TIMEOUT_S)
        body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return f"no answer ({type(error).__name__})"
    if answer.status_code != httpx.codes.OK:
        return str(body.get("detail", answer.status_code))
    stale = " (stale: the registry has not confirmed it)" if body.get("stale") else ""
    return f"{body['name']} version {body['version']}{stale}"
