"""`modelyard demo` and `modelyard doctor`."""

from __future__ import annotations

from pathlib import Path

import typer

from modelyard.cli.connection import JsonOption
from modelyard.settings import DemoSettings, read_settings


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(demo)
    app.command()(doctor)


def demo() -> None:
    """Run the whole stack on this machine without Docker: train, serve, predict."""
    from modelyard.embedded.demo import run_demo

    try:
        run_demo(read_settings(DemoSettings), Path.cwd(), typer.echo)
    except KeyboardInterrupt:
        typer.echo("\nstopped")


def doctor(as_json: JsonOption = False) -> None:
    """Check that this machine can run the stack: expected, found, fix."""
    from modelyard.host.doctor.__main__ import main

    raise typer.Exit(main(["--json"] if as_json else []))
