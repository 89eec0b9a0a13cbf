"""`modelyard promote`, `rollback` and `history`: moving an alias, and who moved it before."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from modelyard.cli.connection import CHAMPION, Alias, AsJson, Model, Why, open_registry
from modelyard.cli.output import moment, show_json, show_rows
from modelyard.errors import ConfigError, RegistryNotFoundError, did_you_mean
from modelyard.registry import ModelVersion
from modelyard.registry.lookup import find_model, find_version
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.registry.moves import Action, Promotion, moves_of
from modelyard.registry.promotion import promote, rollback
from modelyard.registry.uri import check_alias
from modelyard.registry.verdict import CHAMPION_TAG, NO_CHAMPION, VERDICT_TAG
from modelyard.settings import CommandSettings, read_settings

From = Annotated[
    str | None,
    typer.Option("--from", help="Move only if the alias is at this version now; else exit code 8."),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Promote a version that the gate refused, on record, with --why."),
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
    as_json: AsJson = False,
) -> None:
    """Let an alias point to VERSION; servers follow within seconds.

    Exit code 7 when the gate refused the version, 8 when somebody else moved the alias.
    """
    check_alias(alias)
    if force:
        _require_reason(why, "A forced promotion", "modelyard promote VERSION --force --why …")
    with open_registry(model) as (registry, name):
        moved = promote(
            registry, name, alias, version,
            who=_who(), why=why, expected=_number(from_version), force=force,
        )  # fmt: skip
        target = find_version(registry, name, version)
        aliases = registry.aliases(name)
    notes = _notes(target, moved, aliases)
    if as_json:
        show_json(_facts(name, alias, target.version, moved, notes))
        return
    at = target.version
    typer.echo(_sentence(name, moved) if moved else f"{name}@{alias} is version {at} already")
    for note in notes:
        typer.echo(f"note: {note}")


def rollback_version(
    why: Why = "",
    alias: Alias = CHAMPION,
    model: Model = None,
    from_version: From = None,
    as_json: AsJson = False,
) -> None:
    """Let an alias point to the version it had before; again, to the one before that.

    It needs a reason. Exit code 8 when somebody else moved the alias. With --from it is safe to run
    twice.
    """
    check_alias(alias)
    _require_reason(why, "A rollback", "modelyard rollback --why …")
    with open_registry(model) as (registry, name):
        moved = rollback(registry, name, alias, who=_who(), why=why, expected=_number(from_version))
    notes = [
        f"version {number} was passed over: it is gone, or not ready"
        for number in moved.passed_over
    ]
    repeat = _repeatable(moved, model)
    if as_json:
        show_json(_facts(name, alias, moved.moved_to, moved, notes) | {"safe to repeat": repeat})
        return
    typer.echo(_sentence(name, moved))
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"safe to repeat: {repeat}\n  (without --from it goes back one version more)")


def history(alias: Alias = CHAMPION, model: Model = None, as_json: AsJson = False) -> None:
    """Show every recorded move of an alias, oldest first."""
    check_alias(alias)
    with open_registry(model) as (registry, name):
        registered = find_model(registry, name)
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
        rows = [_row(move) for move in moves]
        show_rows(f"{name}@{alias}: history", rows, wrap=("how", "who", "why"))


def _who() -> str:
    return read_settings(CommandSettings).modelyard_user


def _number(text: str | None) -> str | None:
    """Without zeros in front, as the registry writes it."""
    return (text.lstrip("0") or "0") if text and text.isascii() and text.isdigit() else text


def _require_reason(why: str, what: str, command: str) -> None:
    if not why.strip():
        raise ConfigError(f"{what} needs a reason, for the record: --why.", fix=command)


def _notes(target: ModelVersion, moved: Promotion | None, aliases: Mapping[str, str]) -> list[str]:
    """What whoever promoted `target` should know; `aliases` are as they are after the move."""
    version, tags = target.version, target.tags
    notes = []
    if VERDICT_TAG not in tags:
        notes.append(f"version {version} was never judged by the gate")
    if moved is not None and (other := _other_champion(target, moved, aliases)):
        notes.append(other)
    if DIGEST_TAG not in tags:
        notes.append(
            f"version {version} has no registered manifest: a server with "
            "SERVING_REQUIRE_MANIFEST=true refuses it"
        )
    return notes


def _other_champion(target: ModelVersion, moved: Promotion, aliases: Mapping[str, str]) -> str:
    """A sentence when the gate compared with another version than the one that served; or empty."""
    is_champion = moved.alias == CHAMPION
    serving = moved.moved_from if is_champion else aliases.get(CHAMPION, "")
    judged = target.tags.get(CHAMPION_TAG, serving)
    if not serving or serving in (judged, target.version):
        return ""
    against = "without a champion" if judged == NO_CHAMPION else f"against version {judged}"
    return (
        f"version {target.version} was judged {against}, and never against version {serving}, "
        f"which {'was' if is_champion else 'is'} the champion"
    )


def _row(move: Promotion) -> dict[str, str]:
    return {
        "when (UTC)": moment(move.at),
        "from": move.moved_from or "-",
        "to": move.moved_to,
        "how": ", ".join([move.action, *_circumstances(move)]),
        "who": move.who,
        "why": move.why,
    }


def _circumstances(move: Promotion) -> list[str]:
    """What was unusual about a move, in a word each."""
    forced = "forced" if move.action == Action.PROMOTE else "to a refused version"
    passed = f"past {', '.join(move.passed_over)}"
    return [*([forced] if move.forced else []), *([passed] if move.passed_over else [])]


def _sentence(name: str, move: Promotion) -> str:
    before = f", was {move.moved_from}" if move.moved_from else ""
    forced = "; the gate had refused it" if move.forced else ""
    return f"{name}@{move.alias} is version {move.moved_to} now{before}{forced}"


def _repeatable(move: Promotion, model: str | None) -> str:
    """The rollback that was just done, as a command that does it once, however often it is run."""
    words = ["modelyard", "rollback", "--from", move.moved_from]
    words += [] if move.alias == CHAMPION else ["--alias", move.alias]
    words += ["--model", model] if model else []
    return shlex.join([*words, "--why", move.why])


def _facts(
    name: str, alias: str, version: str, moved: Promotion | None, notes: Sequence[str]
) -> dict[str, object]:
    return {
        "model": name,
        "alias": alias,
        "version": version,
        "moved": moved is not None,
        "move": None if moved is None else asdict(moved),
        "notes": list(notes),
    }
