"""`modelyard reproduce`: the same version again, byte for byte, or the first thing that differs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from modelyard.cli.connection import AsJson, Model, open_registry
from modelyard.cli.output import show_json
from modelyard.errors import ReproductionError
from modelyard.reproduction.reproduce import GRAPH_FILE, Reproduction
from modelyard.reproduction.reproduce import reproduce as reproduce_version
from modelyard.settings import ReproductionSettings, read_settings


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(reproduce)


def reproduce(
    version: Annotated[str, typer.Argument(help="Number of the version.")],
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Rebuild VERSION from its recorded commit, data and config, and compare every file's sha256.

    The registry is only read: the training runs against an MLflow that is thrown away. Exit code 9
    when something differs, or is not available; the first such thing is named.
    """
    settings = read_settings(ReproductionSettings)
    with open_registry(model) as (registry, name):
        say = _to_stderr if as_json else typer.echo
        found = reproduce_version(registry, name, version, Path.cwd(), settings, say)
    if as_json:
        show_json({"identical": found.identical, **asdict(found)})
    if not found.identical:
        raise _not_the_same(name, found)
    if not as_json:
        model_file = next((n for n in found.compared if n == GRAPH_FILE), min(found.compared))
        typer.echo(f"identical {model_file}, sha256 {found.compared[model_file]}")
        typer.echo("          and every other file but MLmodel, which holds ids and times")


def _to_stderr(line: str) -> None:
    typer.echo(line, err=True)


def _not_the_same(name: str, found: Reproduction) -> ReproductionError:
    first = found.first_difference()
    lines = [f"  {difference.sentence()}" for difference in found.files]
    if found.weights:
        lines.append(f"  {GRAPH_FILE}: {found.weights}")
    cause = (
        f"The first thing that differs is {first.sentence()}."
        if found.circumstances
        else "Code, data, packages and CPU type are as recorded: this training does not give the "
        "same result twice."
    )
    return ReproductionError(
        f"{name} version {found.version} was trained again and is not the same:\n"
        + "\n".join(lines)
        + f"\n{cause}",
        fix="Make that the same, as a container of the recorded image on the same CPU type does; "
        "then reproduce again."
        if found.circumstances
        else "Seed everything that is random in the project's fit, and fix OMP_NUM_THREADS.",
    )
