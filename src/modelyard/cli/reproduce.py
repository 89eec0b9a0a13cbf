"""`modelyard reproduce`: the same version again, byte for byte, or the first thing that differs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Annotated

import typer

from modelyard.cli.connection import JsonOption, ModelOption, open_registry
from modelyard.cli.output import show_json
from modelyard.errors import ConfigError, ReproductionError
from modelyard.reproduction.advice import advise
from modelyard.reproduction.reproduce import (
    GRAPH_FILE,
    Reproduction,
    is_checkout,
    reproduce_version,
)
from modelyard.settings import ReproductionSettings, read_settings


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(reproduce)


def reproduce(
    version: Annotated[str, typer.Argument(help="Number of the version.")],
    model: ModelOption = None,
    code: Annotated[
        str,
        typer.Option(
            metavar="ARCHIVE",
            help="The recorded code as tar, `-` for standard input, where there is no git: what "
            "`git archive COMMIT` writes, and `make reproduce` hands over.",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Rebuild VERSION from its recorded commit, data and config, and compare every file's sha256.

    The registry is only read: the training runs against an MLflow that is thrown away. Exit code 9
    when something differs, or is not available; the first such thing is named.
    """
    settings = read_settings(ReproductionSettings)
    root = Path.cwd()
    with open_registry(model) as (registry, name), _open(code) as archive:
        echo = partial(typer.echo, err=as_json)
        found = reproduce_version(registry, name, version, root, settings, echo, archive)
    if as_json:
        show_json({"identical": found.identical, **asdict(found)})
    if not found.identical:
        raise _not_the_same(name, found, in_checkout=is_checkout(root))
    if not as_json:
        model_file = next((n for n in found.compared if n == GRAPH_FILE), min(found.compared))
        typer.echo(f"identical {model_file}, sha256 {found.compared[model_file]}")
        typer.echo("          and every other file but MLmodel, which holds ids and times")


@contextmanager
def _open(code: str) -> Iterator[IO[bytes] | None]:
    if code in ("", "-"):
        yield sys.stdin.buffer if code else None
        return
    try:
        file = Path(code).open("rb")  # noqa: SIM115 - closed below; only this may be no such file
    except OSError as error:
        raise ConfigError(f"--code: {code} cannot be read: {error.strerror}.") from error
    with file:
        yield file


def _not_the_same(name: str, found: Reproduction, *, in_checkout: bool) -> ReproductionError:
    first = found.first_mismatch()
    lines = [f"  {mismatch.sentence()}" for mismatch in found.files]
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
        fix=advise(first, found.version, found.commit, in_checkout=in_checkout)
        if found.circumstances
        else "Seed everything that is random in the project's fit, and fix OMP_NUM_THREADS.",
    )
