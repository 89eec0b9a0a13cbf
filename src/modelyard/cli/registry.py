"""`modelyard versions`, `status`, `promote`, `rollback` and `history`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from modelyard.errors import ConfigError
from modelyard.registry import ModelVersion, RegistryClient
from modelyard.registry.promotion import Promotion, promote, rollback
from modelyard.registry.promotion import history as read_history
from modelyard.settings import CommandSettings, read_settings

Model = Annotated[str | None, typer.Option(help="Registered model; MODEL_NAME by default.")]
Alias = Annotated[str, typer.Option(help="The alias to look at or to move.")]
Why = Annotated[str, typer.Option(help="The reason, for the record.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
_CHAMPION = "champion"
_SERVER_TIMEOUT_S = 3.0


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    for command in (versions, status, promote_version, rollback_version, history):
        name = command.__name__.removesuffix("_version")
        app.command(name)(command)


def versions(model: Model = None, as_json: AsJson = False) -> None:
    """List the registered versions, newest first."""
    with _registry(model) as (registry, name):
        aliases = registry.aliases(name)
        found = [_row(version, aliases) for version in registry.versions(name)]
    _show(f"{name}: versions", found, as_json)


def status(model: Model = None, as_json: AsJson = False) -> None:
    """Show where the aliases point and what the server serves."""
    settings = read_settings(CommandSettings)
    with _registry(model) as (registry, name):
        aliases = dict(registry.aliases(name))
    row = {
        "model": name,
        "aliases": ", ".join(f"{alias} → {version}" for alias, version in aliases.items())
        or "none",
        "registry": settings.mlflow_tracking_uri,
        "server": settings.serving_url,
        "serves": _served(settings.serving_url),
    }
    _show("status", [row], as_json)


def promote_version(
    version: Annotated[str, typer.Argument(help="Number of the version.")],
    why: Why = "",
    alias: Alias = _CHAMPION,
    model: Model = None,
) -> None:
    """Let an alias point to VERSION; servers follow within seconds."""
    with _registry(model) as (registry, name):
        moved = promote(registry, name, alias, version, who=_who(), why=why)
    typer.echo(_sentence(name, moved) if moved else f"{name}@{alias} is version {version} already")


def rollback_version(why: Why = "", alias: Alias = _CHAMPION, model: Model = None) -> None:
    """Let an alias point to the version it had before."""
    with _registry(model) as (registry, name):
        moved = rollback(registry, name, alias, who=_who(), why=why)
    typer.echo(_sentence(name, moved))


def history(alias: Alias = _CHAMPION, model: Model = None, as_json: AsJson = False) -> None:
    """Show every recorded move of an alias, oldest first."""
    with _registry(model) as (registry, name):
        moves = [asdict(move) for move in read_history(registry, name, alias)]
    _show(f"{name}@{alias}: history", moves, as_json)


@contextmanager
def _registry(model: str | None) -> Iterator[tuple[RegistryClient, str]]:
    settings = read_settings(CommandSettings)
    name = model or settings.model_name
    if not name:
        raise ConfigError("Which model?", fix="Say --model NAME, or set MODEL_NAME.")
    with RegistryClient(settings.mlflow_tracking_uri, settings.registry_timeout_s) as registry:
        yield registry, name


def _who() -> str:
    return read_settings(CommandSettings).modelyard_user


def _row(version: ModelVersion, aliases: Any) -> dict[str, str]:
    created = datetime.fromtimestamp(version.created_ms / 1000, UTC)
    return {
        "version": version.version,
        "aliases": ", ".join(alias for alias, to in aliases.items() if to == version.version),
        "created": created.isoformat(timespec="seconds"),
        "run": version.run_id,
        "commit": version.tags.get("git.commit", "")[:12],
        "data md5": version.tags.get("data.md5", ""),
        "status": version.status,
    }


def _served(url: str) -> str:
    try:
        answer = httpx.get(f"{url}/model", timeout=_SERVER_TIMEOUT_S)
        body = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return f"no answer ({type(error).__name__})"
    if answer.status_code != httpx.codes.OK:
        return str(body.get("detail", answer.status_code))
    return f"{body['name']} version {body['version']}"


def _sentence(name: str, move: Promotion) -> str:
    before = f", was {move.moved_from}" if move.moved_from else ""
    return f"{name}@{move.alias} is version {move.moved_to} now{before}"


def _show(title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    console = Console(highlight=False)
    if as_json:
        console.print_json(data=rows)
        return
    if not rows:
        console.print(f"{title}: none", markup=False)
        return
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)
