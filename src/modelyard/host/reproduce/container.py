"""Commands of `modelyard` in a training container of its own, which is gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from typing import IO

from modelyard.host import docker

SERVICE = "training"
COMPOSE = ("compose", "--profile", "train")
_END_S = 15
_ENDS = (signal.SIGINT, signal.SIGTERM)


def run_modelyard(
    words: Sequence[str], feed: IO[bytes] | None = None, *, capture: bool = False
) -> tuple[int, str]:
    """Run `modelyard WORDS` in a new container; its exit code, and its output where captured.

    Args:
        words: command and options.
        feed: its standard input; empty without one.
        capture: keep its standard output instead of showing it.

    Raises:
        DockerNotFoundError: there is no docker.
    """
    # a name, so that the container can be removed when this process has to end before it
    name = f"modelyard-reproduce-{os.getpid()}"
    command = [
        *(*COMPOSE, "run", "--rm", "--no-deps", "-T", "--name", name),
        *("--entrypoint", "modelyard", SERVICE, *words),
    ]
    process = None
    try:
        with _signals_deferred():
            stdout = subprocess.PIPE if capture else None
            process = docker.start(*command, stdin=feed, stdout=stdout)
        output, _ = process.communicate()
    except BaseException:
        if process is not None:
            _end(process, name)
        raise
    return process.returncode, output or ""


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """A process that is ended while it starts another one could not tell which one to end."""
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
    """End it, as Ctrl-C in a terminal has begun to; a second Ctrl-C leaves nothing behind."""
    for number in _ENDS:
        signal.signal(number, signal.SIG_IGN)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)
    process.kill()
    with contextlib.suppress(docker.DockerError):
        docker.capture("rm", "--force", "--volumes", name)
