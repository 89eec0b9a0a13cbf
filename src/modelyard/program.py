"""How a process of ours reports and ends: one error edge for commands, host tools and servers.

A user's mistake is a `ModelyardError`: title, detail and fix are shown and the process ends with
the error's exit code, without a traceback. Any other exception is a defect of ours, and its
traceback is shown.

Standard library only, and any Python from 3.8: tools that run on the host end here, too.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Callable, NoReturn  # noqa: UP035 - Python 3.8

from modelyard.errors import ExitCode, ModelyardError

Echo = Callable[[str], None]
"""Shows one line of progress of a long job."""

_RED, _BOLD, _PLAIN = "\x1b[1;31m", "\x1b[1m", "\x1b[0m"


def run_command(main: Callable[[], int | None]) -> int:
    """Run `main`, which may return an exit code; the exit code of the whole process.

    SIGTERM and Ctrl-C unwind the stack, so that what is open is closed: `docker stop` ends a
    training as KILLED in MLflow instead of leaving it RUNNING forever.
    """
    signal.signal(signal.SIGTERM, _exit_with(ExitCode.STOPPED))
    try:
        return _run(main, print_error)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def run_server(
    main: Callable[[], int | None],
    report: Callable[[ModelyardError], None],
) -> int:
    """Run a server that SIGTERM and Ctrl-C end in the ordinary way, with exit code 0.

    Args:
        main: serves until it is stopped.
        report: shows the error that kept it from starting, in the format of its log.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit_with(ExitCode.DONE))
    return _run(main, report)


def print_error(error: ModelyardError) -> None:
    """Title, detail and fix on standard error; in bold and red where that is a terminal."""
    can_style = (
        sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )
    red, bold, plain = (_RED, _BOLD, _PLAIN) if can_style else ("", "", "")
    lines = [f"{red}error: {error.title}{plain}", error.detail]
    if error.fix:
        lines.append(f"{bold}fix: {error.fix}{plain}")
    print("\n".join(lines), file=sys.stderr, flush=True)  # noqa: T201 - the terminal is its purpose


def _run(
    main: Callable[[], int | None],
    report: Callable[[ModelyardError], None],
) -> int:
    try:
        return main() or ExitCode.DONE
    except ModelyardError as error:
        report(error)
        return error.exit_code


def _exit_with(code: ExitCode) -> Callable[[int, FrameType | None], NoReturn]:
    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(code)

    return leave
