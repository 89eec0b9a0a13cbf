"""docker commands, as a person would type them; one that fails is an error with what it printed.

Standard library only, and any Python from 3.8.
"""

from __future__ import annotations

import subprocess
from typing import IO

from modelyard.errors import ExitCode, ModelyardError

INSTALL_URL = "https://docs.docker.com/engine/install/"
TIMEOUT_S = 300.0
_SHOWN_LINES = 5
_ID_LENGTH, _SHORT_ID_LENGTH = 64, 12


class DockerError(ModelyardError):
    """A docker command failed: which one, and what it printed."""

    title = "A docker command failed"
    exit_code = ExitCode.CONFIGURATION


class DockerNotFoundError(DockerError):
    """The command `docker` cannot be started."""

    title = "Docker is not here"


def capture(*words: str, timeout_s: float = TIMEOUT_S, with_errors: bool = False) -> str:
    """What `docker WORDS` prints on standard output.

    Args:
        words: the command, without `docker`.
        timeout_s: seconds until it is ended.
        with_errors: return its error output too, in the order in which it came.

    Raises:
        DockerError: it failed, or did not end in time.
        DockerNotFoundError: there is no docker.
    """
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            ["docker", *words],  # noqa: S607 - the user's own docker
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if with_errors else subprocess.PIPE,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except OSError as error:
        raise _not_found(error) from error
    except subprocess.TimeoutExpired as error:
        raise _failed(words, f" did not end within {timeout_s:g} s") from error
    if done.returncode != 0:
        printed = ((done.stderr or "").strip() or done.stdout.strip()).splitlines()
        raise _failed(words, " failed", printed[-_SHOWN_LINES:])
    return done.stdout


def show(*words: str) -> None:
    """Run `docker WORDS` on this terminal, for as long as it takes.

    Raises:
        DockerError: it failed, and said why on the terminal.
        DockerNotFoundError: there is no docker.
    """
    try:
        done = subprocess.run(["docker", *words], check=False)  # noqa: S603, S607 - as above
    except OSError as error:
        raise _not_found(error) from error
    if done.returncode != 0:
        raise _failed(words, " failed; it says why above")


def start(*words: str, stdin: IO[bytes] | None, stdout: int | None) -> subprocess.Popen[str]:
    """Start `docker WORDS` without waiting for its end.

    Args:
        words: the command, without `docker`.
        stdin: its standard input; None for an empty one.
        stdout: as for `subprocess.Popen`; None for this terminal.

    Raises:
        DockerNotFoundError: there is no docker.
    """
    try:
        return subprocess.Popen(  # noqa: S603 - as above
            ["docker", *words],  # noqa: S607 - as above
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout,
            text=True,
        )
    except OSError as error:
        raise _not_found(error) from error


def _not_found(error: OSError) -> DockerNotFoundError:
    return DockerNotFoundError(
        f"The command `docker` cannot be started: {error.strerror}.",
        fix=f"Install Docker ({INSTALL_URL}); `make doctor` checks the rest.",
    )


def _failed(words: tuple[str, ...], how: str, printed: list[str] | None = None) -> DockerError:
    shown = (word[:_SHORT_ID_LENGTH] if len(word) == _ID_LENGTH else word for word in words)
    lines = [f"`docker {' '.join(shown)}`{how}{':' if printed else '.'}", *(printed or [])]
    return DockerError("\n".join(lines), fix="`make doctor` checks Docker, Compose and settings.")
