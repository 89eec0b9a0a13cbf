"""`modelyard status`: where the aliases point, and which server serves what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import typer

from modelyard.cli.connection import AsJson, Model, open_registry
from modelyard.cli.output import moment, show_fields, show_json
from modelyard.cli.replicas import Replica, ask, ask_replicas, disagreement
from modelyard.errors import RegistryError, RegistryNotFoundError
from modelyard.registry import RegisteredModel
from modelyard.registry.lookup import TRAIN_FIRST, EmptyRegistryError, find_model
from modelyard.registry.moves import last_move
from modelyard.settings import CommandSettings, read_settings
from modelyard.traffic.report import Report, ask_traffic


@dataclass(frozen=True)
class _Seen:
    """What was seen; `model` is None while the registry does not tell, and `trouble` says why."""

    settings: CommandSettings
    name: str
    model: RegisteredModel | None
    trouble: RegistryError | None
    server: Replica
    replicas: Sequence[Replica]
    traffic: Report | None


def add_commands(app: typer.Typer) -> None:
    """Add this module's command to `app`."""
    app.command()(status)


def status(model: Model = None, as_json: AsJson = False) -> None:
    """Show where the aliases point, since when and by whom, and what each server serves.

    Servers are shown also while the registry does not answer; the exit code is 6 then.
    """
    seen = _look(model)
    if as_json:
        show_json(_facts(seen))
    else:
        show_fields(seen.name or "no model is named", _sections(seen))
    if seen.trouble is not None:
        raise seen.trouble


def _look(model: str | None) -> _Seen:
    settings = read_settings(CommandSettings)
    name, found, trouble = model or settings.model_name, None, None
    try:
        with open_registry(model) as (registry, name):
            found = find_model(registry, name)
    except EmptyRegistryError:
        found = RegisteredModel(name, {}, {})
    except RegistryNotFoundError:
        raise
    except RegistryError as error:
        trouble = error
    return _Seen(
        settings,
        name,
        found,
        trouble,
        server=ask(settings.serving_url),
        replicas=ask_replicas(settings.replica_hosts),
        traffic=ask_traffic(settings.traffic_url) if settings.traffic_url else None,
    )


def _facts(seen: _Seen) -> dict[str, object]:
    return {
        "model": seen.name,
        "aliases": None if seen.model is None else dict(seen.model.aliases),
        "registry": seen.settings.mlflow_tracking_uri,
        "registry trouble": seen.trouble.detail if seen.trouble else "",
        "server": asdict(seen.server),
        "replicas": [asdict(replica) for replica in seen.replicas],
        "traffic": seen.traffic.model_dump(mode="json") if seen.traffic else None,
    }


def _sections(seen: _Seen) -> dict[str, dict[str, str]]:
    settings = seen.settings
    return {
        "registry": {"address": settings.mlflow_tracking_uri, **_aliases(seen)},
        "server": {"address": settings.serving_url, "serves": seen.server.sentence()},
        "replicas": _replicas(seen.replicas) if settings.replica_hosts else {},
        "traffic": {"split": seen.traffic.sentence()} if seen.traffic else {},
    }


def _aliases(seen: _Seen) -> dict[str, str]:
    if seen.model is None:
        return {"aliases": f"unknown: {seen.trouble.detail if seen.trouble else ''}"}
    pointing = {f"@{alias}": _alias(seen.model, alias) for alias in sorted(seen.model.aliases)}
    return pointing or {"aliases": f"none; {TRAIN_FIRST}"}


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
