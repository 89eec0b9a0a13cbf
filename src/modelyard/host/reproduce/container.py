"""Commands of `modelyard` in a training container of its own, which is gone afterwards.

Standard library only, and any Python from 3.8, as `make reproduce` needs it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO

from modelyard.errors import ReproductionError

_SERVICE = "training"
_COMPOSE = ("docker", "compose", "--profile", "train")
_END_S = 15
_ENDS = (signal.SIGINT, signal.SIGTERM)


class FailedError(Exception):
    """The command failed with `code`, and has said why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


def build() -> None:
    """Build the image from the checkout; the output goes to the terminal.

    Raises:
        FailedError: it could not be built.
    """
    with _docker():
        done = subprocess.run([*_COMPOSE, "build", _SERVICE], check=False)  # noqa: S603 - no shell
    if done.returncode:
        raise FailedError(done.returncode)


def ask(*words: str) -> str:
    """What `modelyard WORDS` prints in the container.

    Raises:
        FailedError: it failed, and its error output went to the terminal.
    """
    code, output = _run(words, None, subprocess.PIPE)
    if code:
        raise FailedError(code)
    return output


def run(words: Sequence[str], feed: IO[bytes] | None = None) -> int:
    """Run `modelyard WORDS` with `feed` as its standard input; returns its exit code."""
    return _run(words, feed, None)[0]


def _run(words: Sequence[str], feed: IO[bytes] | None, output: int | None) -> tuple[int, str]:
    # a name, so that it can be removed when whoever waits for it has to end
    name = f"modelyard-reproduce-{os.getpid()}"
    command = [
        *(*_COMPOSE, "run", "--rm", "--no-deps", "-T", "--name", name),
        *("--entrypoint", "modelyard", _SERVICE, *words),
    ]
    process = None
    try:
        with _docker(), _signals_wait():
            process = subprocess.Popen(  # noqa: S603 - our own words, no shell
                command, stdin=feed or subprocess.DEVNULL, stdout=output, text=True
            )
        said, _ = process.communicate()
    except BaseException:
        if process is not None:
            _end(process, name)
        raise
    return process.returncode, said or ""


@contextlib.contextmanager
def _docker() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReproductionError(
            f"The command `docker` cannot be started: {error.strerror}.",
            fix="make doctor says what is missing. Without the stack: modelyard reproduce VERSION",
        ) from error


@contextlib.contextmanager
def _signals_wait() -> Iterator[None]:
    """Whoever is ended in the middle of starting a process would not know which one to end."""
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: noted.append(number)) for number in _ENDS
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if noted:
            signal.raise_signal(noted[0])


def _end(process: subprocess.Popen[str], name: str) -> None:
    """End it, which Ctrl-C in a terminal has begun; a second Ctrl-C leaves nothing behind."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    process.kill()
    subprocess.run(  # noqa: S603 - as above
        ["docker", "rm", "--force", "--volumes", name],  # noqa: S607
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
