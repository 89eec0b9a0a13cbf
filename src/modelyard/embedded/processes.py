"""Child processes that are started, waited for, and always stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from modelyard.errors import ConfigError, ModelyardError

_STOP_TIMEOUT_S = 15.0
_POLL_S = 0.1
_LOG_TAIL_LINES = 15


class StartError(ModelyardError):
    """A program of the embedded stack did not come up."""

    title = "The embedded stack did not start"


def require_free_port(port: int, variable: str) -> None:
    """Check that nothing listens on `port` of 127.0.0.1.

    Raises:
        ConfigError: something does; names the environment variable that chooses another port.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                f"Port {port} of 127.0.0.1 has to be free, and is taken ({error.strerror}).",
                fix=f"Stop what uses it, or choose another: {variable}={port + 1} make demo",
            ) from error


class ChildProcesses:
    """The children of one run. Leaving the block stops them, the one started last first."""

    def __init__(self, log_folder: Path) -> None:
        self._log_folder = log_folder
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def __enter__(self) -> Self:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _, process in reversed(self._running):
            # the child and its own children: SIGTERM, then SIGKILL to what is left after a while
            with suppress(ProcessLookupError):  # the group is empty
                for number in (signal.SIGTERM, signal.SIGKILL):
                    deadline = time.monotonic() + _STOP_TIMEOUT_S
                    os.killpg(process.pid, number)
                    while time.monotonic() < deadline:
                        process.poll()  # a child that ended stays in its group until it is asked
                        os.killpg(process.pid, 0)
                        time.sleep(_POLL_S / 5)

    def start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        ready: Callable[[], bool],
        timeout_s: float,
    ) -> None:
        """Start a server and wait until it is `ready`; what it prints goes to NAME.log.

        Raises:
            StartError: it ended, or was not ready in time; shows the end of its log.
        """
        log = self._log(name)
        with log.open("wb") as output:
            # a session of its own: Ctrl-C reaches us alone, and we stop the children in order
            process = subprocess.Popen(  # noqa: S603 - our own words, no shell
                command,
                env=inherited(environment),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._running.append((name, process))
        deadline = time.monotonic() + timeout_s
        while not ready():
            if (code := process.poll()) is not None:
                raise _failed(f"{name} ended with exit code {code}", log)
            if time.monotonic() > deadline:
                raise _failed(f"{name} was not ready within {timeout_s:g} s", log)
            time.sleep(_POLL_S)

    def run(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        """Run a program on this terminal until it ends.

        Raises:
            StartError: it ended with another exit code than 0.
        """
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            command, cwd=folder, env=inherited(environment), check=False
        )
        if done.returncode != 0:
            raise StartError(f"{name} ended with exit code {done.returncode}; it says why above.")

    def wait(self) -> None:
        """Wait until one of the children ends by itself.

        Raises:
            StartError: always; they should run until they are stopped.
        """
        while True:
            for name, process in self._running:
                if (code := process.poll()) is not None:
                    raise _failed(f"{name} ended with exit code {code}", self._log(name))
            time.sleep(_POLL_S)

    def _log(self, name: str) -> Path:
        return self._log_folder / f"{name}.log"


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What a child gets: our environment, `environment` on top, this Python's programs first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, **environment}


def _failed(what: str, log: Path) -> StartError:
    return StartError(f"{what}:\n{log_tail(log)}", fix=f"Its whole log: {log}")


def log_tail(log: Path) -> str:
    """The end of a log file, indented."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_LOG_TAIL_LINES:])
