"""What a child does before it loads a model: bound its memory, and end with its server."""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
from contextlib import suppress
from functools import cache
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATUS = Path("/proc/self/status")
_UNTOUCHED_BYTES = 2**31
_FILE_LIMITS = (
    (resource.RLIMIT_NOFILE, 1024),
    (resource.RLIMIT_FSIZE, 2**30),
    (resource.RLIMIT_CORE, 0),
)


def die_with_server(lifeline: int) -> None:
    """Be killed, with every process of this group, as soon as the server's end of a pipe closes.

    The kernel does it, whatever the model is doing: no thread of ours has to run. Elsewhere
    than on Linux a child notices only when it waits for its next question.

    Args:
        lifeline: file number of the pipe's reading end; nothing is ever written to it.
    """
    if not hasattr(fcntl, "F_SETSIG"):
        return
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it closed before the kernel was told
        os.killpg(0, signal.SIGKILL)


def limit_memory(limit_bytes: int) -> None:
    """Let an allocation fail that would take this process far over `limit_bytes`; 0: no limit.

    The kernel limits the data that a process has mapped, and libraries map a gigabyte at a time
    that they never touch: the limit is that much higher. It stops a call that runs away; a child
    that grows slowly is replaced by the server, which gets `resident_bytes` with each answer.
    """
    if limit_bytes:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes + _UNTOUCHED_BYTES, hard))


def limit_files() -> None:
    """Bound the files that are open at once, and the size of each; never leave a core behind."""
    for limit, most in _FILE_LIMITS:
        _, hard = resource.getrlimit(limit)
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (allowed, allowed))


def be_first_to_go() -> None:
    """Be what the kernel ends first when memory is short."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def yield_to_server(*, only_idle: bool) -> None:
    """Run after the server.

    Args:
        only_idle: run on idle cores only; else with a tenth of a busy core's time.
    """
    os.nice(10)
    if only_idle and hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def resident_bytes() -> int:
    """Memory that this process holds."""
    try:
        return int(os.pread(_statm(), 256, 0).split()[1]) * _PAGE_BYTES
    except OSError:  # not Linux: the most it ever held, in KiB
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@cache
def _statm() -> int:
    """Opened once: a process that is confined later may not get to it by its path again."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def peak_bytes() -> int:
    """The most memory that this process has held so far."""
    try:
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
