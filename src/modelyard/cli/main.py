"""`modelyard`: one command for training, the registry and traffic.

Exit codes: 0 done; 2 configuration; 3 contract; 4 data; 5 training; 6 registry; 7 the gate refused
the version; 8 somebody else moved the alias; 9 not reproduced; 10 the traffic cannot be split;
130 interrupted; 143 stopped (errors.py has the tree).
"""

from __future__ import annotations

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
from modelyard.cli.run import run

app = typer.Typer(
    help="From versioned data to a served model.",
    epilog="Exit codes: 0 done, 2 configuration, 3 contract, 4 data, 5 training, 6 registry, "
    "7 the gate refused the version, 8 somebody else moved the alias, 9 not reproduced, "
    "10 the traffic cannot be split.",
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
    run(app)


if __name__ == "__main__":
    main()
