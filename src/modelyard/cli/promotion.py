"""`modelyard promote`, `rollback` and `history`: move an alias, and list its moves."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from modelyard.cli.connection import (
    CHAMPION,
    AliasOption,
    JsonOption,
    ModelOption,
    ReasonOption,
    open_registry,
)
from modelyard.cli.output import format_time, show_json, show_rows
from modelyard.errors import ConfigError
from modelyard.registry import ModelVersion
from modelyard.registry.lookup import find_aliased, find_model, find_version
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.registry.moves import Action, AliasMove
from modelyard.registry.promotion import notice, promote, rollback
from modelyard.registry.uri import check_alias
from modelyard.registry.verdict import CHAMPION_TAG, NO_CHAMPION, VERDICT_TAG
from modelyard.settings import CommandSettings, read_settings

FromOption = Annotated[
    str | None,
    typer.Option(
        "--from", help="Move only if the alias points to this version now; else exit code 8."
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Promote a version that the gate refused, on record; with --why."),
]


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    for command in (promote_version, rollback_version, history):
        app.command(command.__name__.removesuffix("_version"))(command)


def promote_version(
    version: Annotated[str, typer.Argument(help="Number of the version.")],
    why: ReasonOption = "",
    alias: AliasOption = CHAMPION,
    model: ModelOption = None,
    from_version: FromOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Point an alias to VERSION; servers follow within seconds.

    Exit code 7 when the gate refused the version, 8 when someone else moved the alias.
    """
    check_alias(alias)
    if force:
        _require_reason(why, "A forced promotion", "modelyard promote VERSION --force --why …")
    with open_registry(model) as (registry, name):
        move = promote(
            registry, name, alias, version,
            who=_user(), why=why, expected=_number(from_version), force=force,
        )  # fmt: skip
        target = find_version(registry, name, version)
        aliases = registry.aliases(name)
    notes = _notes(target, move, aliases)
    _show_move(name, alias, target.version, move, notes, as_json=as_json)


def rollback_version(
    why: ReasonOption = "",
    alias: AliasOption = CHAMPION,
    model: ModelOption = None,
    from_version: FromOption = None,
    as_json: JsonOption = False,
) -> None:
    """Point an alias to its previous version; run again, to the one before that.

    It needs a reason. Exit code 8 when someone else moved the alias. With --from it is safe to run
    twice.
    """
    check_alias(alias)
    _require_reason(why, "A rollback", "modelyard rollback --why …")
    with open_registry(model) as (registry, name):
        move = rollback(registry, name, alias, who=_user(), why=why, expected=_number(from_version))
    notes = [
        f"version {number} was passed over: it is gone, or not ready" for number in move.passed_over
    ]
    # the same rollback as a command that does it once, however often it is run
    words = ["modelyard", "rollback", "--from", move.moved_from]
    words += [] if alias == CHAMPION else ["--alias", alias]
    words += ["--model", model] if model else []
    repeat = shlex.join([*words, "--why", move.why])
    _show_move(name, alias, move.moved_to, move, notes, repeat, as_json=as_json)


def history(
    alias: AliasOption = CHAMPION, model: ModelOption = None, as_json: JsonOption = False
) -> None:
    """List every move of an alias, oldest first; also those that other tools made."""
    check_alias(alias)
    with open_registry(model) as (registry, name):
        registered = find_model(registry, name)
        moves = notice(registry, registered, alias, _user())
        if not moves:
            find_aliased(registered, alias)
    if as_json:
        show_json([asdict(move) for move in moves])
        return
    rows = []
    for move in moves:
        how: list[str] = [move.action]
        if move.forced:
            how.append("forced" if move.action == Action.PROMOTE else "to a refused version")
        if move.passed_over:
            how.append(f"past {', '.join(move.passed_over)}")
        rows.append(
            {
                "when (UTC)": format_time(move.at),
                "from": move.moved_from or "-",
                "to": move.moved_to or "-",
                "how": ", ".join(how),
                "who": move.who,
                "why": move.why,
            }
        )
    show_rows(f"{name}@{alias}: history", rows, wrap=("how", "who", "why"))


def _user() -> str:
    return read_settings(CommandSettings).modelyard_user


def _number(text: str | None) -> str | None:
    """Without leading zeros, as the registry writes it."""
    return (text.lstrip("0") or "0") if text and text.isascii() and text.isdigit() else text


def _require_reason(why: str, what: str, command: str) -> None:
    if not why.strip():
        raise ConfigError(f"{what} needs a reason, for the record: --why.", fix=command)


def _notes(target: ModelVersion, move: AliasMove | None, aliases: Mapping[str, str]) -> list[str]:
    """What to know about the promoted `target`; `aliases` are those after the move."""
    version, tags = target.version, target.tags
    notes = []
    if VERDICT_TAG not in tags:
        notes.append(f"version {version} was never judged by the gate")
    if move is not None:
        moved_champion = move.alias == CHAMPION
        champion = move.moved_from if moved_champion else aliases.get(CHAMPION, "")
        judged = tags.get(CHAMPION_TAG, champion)
        if champion and champion not in (judged, version):
            against = "without a champion" if judged == NO_CHAMPION else f"against version {judged}"
            notes.append(
                f"version {version} was judged {against}, and never against version {champion}, "
                f"which {'was' if moved_champion else 'is'} the champion"
            )
    if DIGEST_TAG not in tags:
        notes.append(
            f"version {version} has no registered manifest: a server with "
            "SERVING_REQUIRE_MANIFEST=true refuses it"
        )
    return notes


def _show_move(
    name: str,
    alias: str,
    version: str,
    move: AliasMove | None,
    notes: Sequence[str],
    repeat: str = "",
    *,
    as_json: bool,
) -> None:
    """Print `move`, or that there was nothing to move; `repeat` is the command to repeat it."""
    if as_json:
        facts = {
            "model": name,
            "alias": alias,
            "version": version,
            "moved": move is not None,
            "move": None if move is None else asdict(move),
            "notes": list(notes),
        }
        show_json(facts | ({"safe to repeat": repeat} if repeat else {}))
        return
    if move is None:
        typer.echo(f"{name}@{alias} is version {version} already")
    else:
        before = f", was {move.moved_from}" if move.moved_from else ""
        refused = "; the gate had refused it" if move.forced else ""
        typer.echo(f"{name}@{alias} is version {version} now{before}{refused}")
    for note in notes:
        typer.echo(f"note: {note}")
    if repeat:
        typer.echo(f"safe to repeat: {repeat}\n  (without --from it goes back one version more)")
