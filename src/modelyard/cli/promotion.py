"""`modelyard promote`, `rollback` and `history`: moving an alias, and who moved it before."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from modelyard.cli.connection import CHAMPION, Alias, AsJson, Model, Why, open_registry
from modelyard.cli.output import moment, show_json, show_rows
from modelyard.errors import RegistryNotFoundError, did_you_mean
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.registry.moves import Promotion, moves_of
from modelyard.registry.promotion import promote, rollback
from modelyard.registry.verdict import VERDICT_TAG
from modelyard.settings import CommandSettings, read_settings

From = Annotated[
    str | None,
    typer.Option("--from", help="Move only if the alias is at this version now; else exit code 8."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Promote a version that the gate refused, on record.")
]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    for command in (promote_version, rollback_version, history):
        app.command(command.__name__.removesuffix("_version"))(command)


def promote_version(
    version: Annotated[str, typer.Argument(help="Number of the version.")],
    why: Why = "",
    alias: Alias = CHAMPION,
    model: Model = None,
    from_version: From = None,
    force: Force = False,
) -> None:
    """Let an alias point to VERSION; servers follow within seconds.

    Exit code 7 when the gate refused the version, 8 when somebody else moved the alias.
    """
    with open_registry(model) as (registry, name):
        moved = promote(
            registry, name, alias, version,
            who=_who(), why=why, expected=from_version, force=force,
        )  # fmt: skip
        tags = registry.version(name, version).tags
    typer.echo(_sentence(name, moved) if moved else f"{name}@{alias} is version {version} already")
    if VERDICT_TAG not in tags:
        typer.echo(f"note: version {version} was never judged by the gate")
    if DIGEST_TAG not in tags:
        typer.echo(
            f"note: version {version} has no registered manifest: a server with "
            "SERVING_REQUIRE_MANIFEST=true refuses it"
        )


def rollback_version(
    why: Why = "", alias: Alias = CHAMPION, model: Model = None, from_version: From = None
) -> None:
    """Let an alias point to the version it had before; again, to the one before that.

    Exit code 8 when somebody else moved the alias. With --from it is safe to run twice.
    """
    with open_registry(model) as (registry, name):
        moved = rollback(registry, name, alias, who=_who(), why=why, expected=from_version)
    typer.echo(_sentence(name, moved))


def history(alias: Alias = CHAMPION, model: Model = None, as_json: AsJson = False) -> None:
    """Show every recorded move of an alias, oldest first."""
    with open_registry(model) as (registry, name):
        registered = registry.registered_model(name)
    moves = moves_of(registered, alias)
    if not moves and alias not in registered.aliases:
        listed = ", ".join(sorted(registered.aliases)) or "none"
        raise RegistryNotFoundError(
            f'{name} has no alias "{alias}"; it has: {listed}.'
            + did_you_mean(alias, registered.aliases),
            fix="Set it: modelyard promote VERSION --why …",
        )
    if as_json:
        show_json([asdict(move) for move in moves])
    else:
        show_rows(f"{name}@{alias}: history", [_row(move) for move in moves], wrap=("who", "why"))


def _who() -> str:
    return read_settings(CommandSettings).modelyard_user


def _row(move: Promotion) -> dict[str, str]:
    return {
        "when (UTC)": moment(move.at),
        "from": move.moved_from or "-",
        "to": move.moved_to,
        "how": f"{move.action}, forced" if move.forced else move.action,
        "who": move.who,
        "why": move.why,
    }


def _sentence(name: str, move: Promotion) -> str:
    before = f", was {move.moved_from}" if move.moved_from else ""
    forced = "; the gate had refused it" if move.forced else ""
    return f"{name}@{move.alias} is version {move.moved_to} now{before}{forced}"
