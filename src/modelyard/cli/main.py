"""`modelyard`: one command for training and the registry; errors end here.

Exit codes: 0 done; 2 configuration; 3 contract; 4 data; 5 training; 6 registry; 7 the gate refused
the version; 8 somebody else moved the alias; 9 not reproduced; 130 interrupted; 143 stopped
(errors.py has the tree).
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

import typer
from rich.console import Console

from modelyard.cli import batch, demo, promotion, registry, reproduce, trace, training
from modelyard.errors import ModelyardError

_INTERRUPTED = 130
_TERMINATED = 128 + signal.SIGTERM

app = typer.Typer(
    help="From versioned data to a served model.",
    epilog="Exit codes: 0 done, 2 configuration, 3 contract, 4 data, 5 training, 6 registry, "
    "7 the gate refused the version, 8 somebody else moved the alias, 9 not reproduced.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
training.add_commands(app)
registry.add_commands(app)
promotion.add_commands(app)
trace.add_commands(app)
reproduce.add_commands(app)
batch.add_commands(app)
demo.add_commands(app)


def main() -> None:
    """Run the command line; a `ModelyardError` becomes its sentence and its exit code."""
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


if __name__ == "__main__":
    main()
