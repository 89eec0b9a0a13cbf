"""`modelyard status`: where the aliases point, and which server serves what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import typer

from modelyard.cli.connection import TRAIN_FIRST, AsJson, Model, open_registry
from modelyard.cli.output import moment, show_fields, show_json
from modelyard.cli.replicas import Replica, ask, ask_replicas, disagreement
from modelyard.errors import RegistryNotFoundError
from modelyard.registry import RegisteredModel
from modelyard.registry.moves import last_move
from modelyard.settings import CommandSettings, read_settings
from modelyard.traffic.report import ask_traffic


def add_commands(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(status)


def status(model: Model = None, as_json: AsJson = False) -> None:
    """Show where the aliases point, since when and by whom, and what each server serves."""
    settings = read_settings(CommandSettings)
    with open_registry(model) as (registry, name):
        try:
            registered = registry.registered_model(name)
        except RegistryNotFoundError:
            registered = RegisteredModel(name, {}, {})
    server = ask(settings.serving_url)
    replicas = ask_replicas(settings.replica_hosts)
    traffic = ask_traffic(settings.traffic_url) if settings.traffic_url else None
    if as_json:
        found = {
            "model": name,
            "aliases": dict(registered.aliases),
            "registry": settings.mlflow_tracking_uri,
            "server": asdict(server),
            "replicas": [asdict(replica) for replica in replicas],
            "traffic": traffic.model_dump(mode="json") if traffic else None,
        }
        show_json(found)
        return
    aliases = {f"@{alias}": _alias(registered, alias) for alias in sorted(registered.aliases)}
    show_fields(
        name,
        {
            "registry": {
                "address": settings.mlflow_tracking_uri,
                **(aliases or {"aliases": f"none; {TRAIN_FIRST}"}),
            },
            "server": {"address": settings.serving_url, "serves": server.sentence()},
            "replicas": _replicas(replicas) if settings.replica_hosts else {},
            "traffic": {"split": traffic.sentence()} if traffic else {},
        },
    )


def _alias(model: RegisteredModel, alias: str) -> str:
    version, move = model.aliases[alias], last_move(model, alias)
    if move is None or move.moved_to != version:
        return f"version {version} (not moved by modelyard: nothing is on record)"
    why = f": {move.why}" if move.why else ""
    return f"version {version} since {moment(move.at)} UTC, by {move.who}{why}"


def _replicas(replicas: Sequence[Replica]) -> dict[str, str]:
    if not replicas:
        return {"none": "no prediction server runs: docker compose up -d --wait"}
    said = {replica.name: replica.sentence() for replica in replicas}
    if different := disagreement(replicas):
        said["note"] = f"{different}: for a moment after a promotion, else see why above"
    return said
