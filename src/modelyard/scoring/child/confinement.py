"""What a model's process may reach: its version's files, a folder of its own, and what it runs on.

The process takes every other right from itself before anything of the version is opened, and
whatever it starts inherits that. Two means of the kernel do it, and neither needs a privilege:
Landlock for files, TCP and signals, a filter of system calls for the rest.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from modelyard.scoring.child import landlock, seccomp
from modelyard.scoring.child.landlock import Access
from modelyard.scoring.child.semaphores import use_shared_semaphores

_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store")
_CONFIGURATION = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "os-release", "debian_version"),
    *("localtime", "timezone", "locale.alias", "passwd", "group", "nsswitch.conf", "mime.types"),
    *("ssl", "pki", "ca-certificates", "fonts", "OpenCL"),
)
_OF_NETWORK = ("resolv.conf", "hosts", "host.conf", "gai.conf", "services", "protocols")
_FACTS = (
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/loadavg", "/proc/uptime"),
    *("/proc/version", "/proc/filesystems", "/proc/sys/vm", "/proc/sys/kernel"),
    *("/proc/self/status", "/proc/self/stat", "/proc/self/statm", "/proc/self/maps"),
    *("/proc/self/cmdline", "/proc/self/limits", "/proc/self/cgroup", "/proc/self/auxv"),
    *("/proc/self/fd", "/proc/self/task"),
    *("/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"),
    *("/dev/random", "/dev/urandom"),
)
_SINKS = ("/dev/null", "/dev/zero", "/dev/full")
_MODE_CALLS = ("chmod", "utime")


@dataclass(frozen=True)
class Confinement:
    """What one process may reach beside the interpreter, its packages and the system's libraries.

    Args:
        folder: the version's files, for reading.
        scratch: its own folder, for whatever it likes; empty for none.
        network: whether it may reach addresses.
    """

    folder: str
    scratch: str = ""
    network: bool = False

    def to_json(self) -> str:
        """As an argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote."""
        return cls(**json.loads(text))

    def enter(self) -> None:
        """Confine this process, for good; it must not have started a thread yet.

        Raises:
            OSError: the kernel refuses.
        """
        threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - as cheap as it gets
        if threads != 1:  # Landlock holds for the thread that asks, and for those that it starts
            raise OSError(f"expected one thread, found {threads}")
        if landlock.abi():
            landlock.restrict(self._rules(), network=self.network)
            use_shared_semaphores()
        if seccomp.is_available():
            seccomp.install(network=self.network, landlock_abi=landlock.abi())
            _pass_over_modes(self.scratch)

    def _rules(self) -> Iterator[tuple[str, Access]]:
        prefixes = {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}
        for path in (*_PROGRAMS, *prefixes):
            yield path, Access.RUN
        libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
        for path in filter(os.path.isabs, (*sys.path, *libraries, self.folder)):
            yield path, Access.READ
        for name in (*_CONFIGURATION, *(_OF_NETWORK if self.network else ())):
            yield f"/etc/{name}", Access.READ
        for path in _FACTS:
            yield path, Access.READ
        for path in _SINKS:
            yield path, Access.WRITE
        if self.scratch:
            yield self.scratch, Access.ALL_BUT_RUN


@functools.cache
def gaps() -> tuple[str, ...]:
    """What this machine lacks to confine a process; empty when it has all of it."""
    lacking = []
    if not landlock.abi():
        lacking.append("Landlock (Linux 5.13 or newer, with landlock among its `lsm=`)")
    if sys.platform != "linux" or not seccomp.is_available():
        lacking.append("filters of system calls (seccomp, on x86-64 or arm64)")
    return tuple(lacking)


def _pass_over_modes(scratch: str) -> None:
    """Let the modes and times of a process' own files be, where code asks for others.

    The filter refuses both for every file, as it cannot see which one is meant; `shutil.copy` and
    the like would fail over it.
    """
    if not scratch:
        return
    own = Path(scratch).resolve()

    def passing_over(call: Any) -> Any:
        @functools.wraps(call)
        def changed(path: Any, *arguments: Any, **options: Any) -> None:
            try:
                call(path, *arguments, **options)
            except PermissionError:
                with suppress(TypeError, ValueError, OSError):
                    if Path(os.fsdecode(path)).resolve().is_relative_to(own):
                        return
                raise

        return changed

    for name in _MODE_CALLS:
        setattr(os, name, passing_over(getattr(os, name)))
