"""Runs a command line: the one place where errors become their sentence and their exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer
from rich.console import Console

from modelyard.errors import ModelyardError

_INTERRUPTED = 130
_TERMINATED = 128 + signal.SIGTERM


def run(app: typer.Typer) -> None:
    """Run `app`; a `ModelyardError` becomes its sentence and its exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except ModelyardError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"error: {error.title}", style="bold red", markup=False)
        console.print(error.detail, markup=False)
        if error.fix:
            console.print(f"fix: {error.fix}", style="bold", markup=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """`docker stop` ends a run as KILLED in MLflow instead of leaving it RUNNING for ever."""
    sys.exit(_TERMINATED)
