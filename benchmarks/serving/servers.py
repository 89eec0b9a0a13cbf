"""One server under test: started on its core, stopped, halted while another one is measured."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.places import LOGS, SERVER_CORE, on_core

_START_TIMEOUT_S = 90.0
_STOP_TIMEOUT_S = 4.0
_POLL_S = 0.01
_TAIL_BYTES = 3000


class ServerError(Exception):
    """A server did not come up."""


@dataclass(frozen=True)
class Program:
    """What is started, and with what; the environment is all that it gets."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str]
    folder: Path = field(default_factory=Path.cwd)


class RunningServer:
    """A started program and all the processes that it starts."""

    def __init__(self, program: Program, core: int = SERVER_CORE) -> None:
        """Start `program` on `core`."""
        LOGS.mkdir(parents=True, exist_ok=True)
        self._log = LOGS / f"{program.name}.log"
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        environment |= {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **program.environment}
        self.name = program.name
        with self._log.open("wb") as log, on_core(core):
            self.started = time.perf_counter()
            self._process = subprocess.Popen(  # noqa: S603 - our own words, no shell
                program.command,
                env=environment,
                cwd=program.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(self, ready: Callable[[], bool]) -> float:
        """Seconds from the start of the process until `ready`.

        Raises:
            ServerError: it ended, or was not ready in time.
        """
        while not ready():
            waited = time.perf_counter() - self.started
            if self._process.poll() is not None or waited > _START_TIMEOUT_S:
                self.stop()
                raise ServerError(
                    f"{self.name} did not come up after {waited:.0f} s:\n{self.tail()}"
                )
            time.sleep(_POLL_S)
        return time.perf_counter() - self.started

    def tail(self) -> str:
        """The end of what it wrote."""
        return self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")

    def rss_bytes(self) -> int:
        """Resident memory of all its processes, as ps adds it up."""
        return sum(_rss_bytes(pid) for pid in self._pids())

    def processor_s(self) -> float:
        """Processor time that its processes have used."""
        return sum(_processor_s(pid) for pid in self._pids())

    def yield_to_others(self) -> None:
        """Run only while nothing else wants its core."""
        for pid in self._pids():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with suppress(OSError):
                    os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))

    def halt(self) -> None:
        """Let it do nothing, until `go_on`: what is idle may still poll."""
        for pid in self._pids():
            _signal(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it work again, children before their parents."""
        for pid in reversed(self._pids()):
            _signal(pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it and all that it started."""
        self.go_on()
        pids = self._pids()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_TIMEOUT_S)
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        self._process.wait()

    def _pids(self) -> list[int]:
        """The process and its descendants, parents first."""
        children: dict[int, list[int]] = {}
        for pid, parent in _parents():
            children.setdefault(parent, []).append(pid)
        found = [self._process.pid]
        for pid in found:  # grows while it is walked
            found += children.get(pid, [])
        return found


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                yield int(entry.name), int(after_name[1])


def _rss_bytes(pid: int) -> int:
    with suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0


def _processor_s(pid: int) -> float:
    with suppress(OSError):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
