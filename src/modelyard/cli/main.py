"""`modelyard`: one command for training, the registry and traffic."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from modelyard import __version__
from modelyard.cli import (
    batch,
    demo,
    promotion,
    reproduce,
    status,
    trace,
    traffic,
    training,
    versions,
)
from modelyard.errors import ExitCode
from modelyard.program import run_command

app = typer.Typer(
    help="From versioned data to a served model.",
    epilog="Exit codes: " + "; ".join(f"{code:d} {code.meaning}" for code in ExitCode) + ".",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def show_version(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """From versioned data to a served model."""
    if version:
        typer.echo(f"modelyard {__version__}")
        raise typer.Exit


training.add_commands(app)
versions.add_commands(app)
status.add_commands(app)
promotion.add_commands(app)
traffic.add_commands(app)
trace.add_commands(app)
reproduce.add_commands(app)
batch.add_commands(app)
demo.add_commands(app)


def main() -> None:
    """The command `modelyard`."""
    sys.exit(run_command(app))


if __name__ == "__main__":
    main()
