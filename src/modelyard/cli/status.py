"""`modelyard status`: where the aliases point, and what each server serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import typer

from modelyard.cli.connection import CHAMPION, JsonOption, ModelOption, open_registry
from modelyard.cli.output import format_time, show_fields, show_json
from modelyard.cli.replicas import ServerStatus, ask_replicas, ask_server, disagreement
from modelyard.errors import RegistryError, RegistryNotFoundError
from modelyard.registry import RegisteredModel
from modelyard.registry.lookup import TRAIN_FIRST, EmptyRegistryError, find_model
from modelyard.registry.moves import Action, AliasMove, aliases_on_record
from modelyard.registry.promotion import notice
from modelyard.settings import CommandSettings, read_settings
from modelyard.traffic.report import Report, ask_traffic


@dataclass(frozen=True)
class _StackStatus:
    """What was found; `model` is None while the registry does not answer: `trouble` says why.

    `moves` are the last ones, by alias.
    """

    settings: CommandSettings
    name: str
    model: RegisteredModel | None
    trouble: RegistryError | None
    moves: Mapping[str, AliasMove]
    server: ServerStatus
    replicas: Sequence[ServerStatus]
    traffic: Report | None


def add_commands(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(status)


def status(model: ModelOption = None, as_json: JsonOption = False) -> None:
    """Show where the aliases point, since when and by whom, and what each server serves.

    Servers are shown also while the registry does not answer; the exit code is then 6.
    """
    found = _ask_stack(model)
    if as_json:
        show_json(
            {
                "model": found.name,
                "aliases": None if found.model is None else dict(found.model.aliases),
                "registry": found.settings.mlflow_tracking_uri,
                "registry trouble": found.trouble.detail if found.trouble else "",
                "server": asdict(found.server),
                "replicas": [asdict(replica) for replica in found.replicas],
                "traffic": found.traffic.model_dump(mode="json") if found.traffic else None,
            }
        )
    else:
        show_fields(found.name or "no model is named", _sections(found))
    if found.trouble is not None:
        raise found.trouble


def _ask_stack(model: str | None) -> _StackStatus:
    settings = read_settings(CommandSettings)
    name, found, trouble = model or settings.model_name, None, None
    moves: dict[str, AliasMove] = {}
    try:
        with open_registry(model) as (registry, name):
            found = find_model(registry, name)
            for alias in {*found.aliases, *aliases_on_record(found)}:
                if known := notice(registry, found, alias, settings.modelyard_user):
                    moves[alias] = known[-1]
    except EmptyRegistryError:
        found = RegisteredModel(name, {}, {})
    except RegistryNotFoundError:
        raise
    except RegistryError as error:
        trouble = error
    return _StackStatus(
        settings,
        name,
        found,
        trouble,
        moves,
        server=ask_server(settings.serving_url),
        replicas=ask_replicas(settings.replica_hosts),
        traffic=ask_traffic(settings.traffic_url) if settings.traffic_url else None,
    )


def _sections(found: _StackStatus) -> dict[str, dict[str, str]]:
    settings = found.settings
    replicas = {replica.name: replica.sentence() for replica in found.replicas}
    if different := disagreement(found.replicas):
        replicas["note"] = f"{different}: for a moment after a promotion, else see why above"
    if settings.replica_hosts and not replicas:
        replicas["none"] = "no prediction server runs: docker compose up -d --wait"
    return {
        "registry": {"address": settings.mlflow_tracking_uri, **_aliases(found)},
        "server": {"address": settings.serving_url, "serves": found.server.sentence()},
        "replicas": replicas,
        "traffic": {"split": found.traffic.sentence()} if found.traffic else {},
    }


def _aliases(found: _StackStatus) -> dict[str, str]:
    if found.model is None:
        return {"aliases": f"unknown: {found.trouble.detail if found.trouble else ''}"}
    fields = {}
    for alias, move in sorted(found.moves.items()):
        if alias not in found.model.aliases and alias != CHAMPION:
            continue  # it was removed, and nothing is amiss
        place = f"version {move.moved_to}" if move.moved_to else "not set"
        if move.action is Action.OBSERVED:
            text = f"{place}: {move.why}"
        else:
            why = f": {move.why}" if move.why else ""
            text = f"{place} since {format_time(move.at)} UTC, by {move.who}{why}"
        fields[f"@{alias}"] = text
    return fields or {"aliases": f"none; {TRAIN_FIRST}"}
