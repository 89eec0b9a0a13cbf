"""How much a child may take together with whatever it starts, looked after by a thread.

The kernel's own limits are for one process, or for all of a user's; a model that forks is many, and
they are the server's user's. They cannot leave the child's process group, so the group is counted.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic, sleep

from modelyard.scoring.child.scratch import Scratch

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LOOK_S, _LONGEST_S = 0.05, 1.0
_MANY_NEW = 16
_MIB = 2**20


@dataclass(frozen=True)
class Budget:
    """What a child and all that it starts may have at one time.

    Args:
        memory_bytes: resident memory; 0 for no limit.
        processes: running processes, the child among them.
        threads: threads of all of them; libraries start one a core.
        scratch_bytes: in its own folder.
        scratch_entries: files and folders there.
    """

    memory_bytes: int
    processes: int = 32
    threads: int = 192 + 2 * (os.cpu_count() or 1)
    scratch_bytes: int = 2**30
    scratch_entries: int = 20_000


@dataclass(frozen=True)
class Usage:
    """What a process group has now."""

    processes: int = 0
    threads: int = 0
    resident_bytes: int = 0
    members: tuple[int, ...] = ()


@dataclass(frozen=True)
class Overseen:
    """One child under watch; `end` is called with the reason when it takes too much."""

    group: int
    budget: Budget
    scratch: Scratch
    end: Callable[[str], None]

    def excess_in_number(self, usage: Usage) -> str:
        """What it has too many of; empty when nothing. As cheap as looking is."""
        budget = self.budget
        if usage.processes > budget.processes:
            return f"it had {usage.processes} processes, and {budget.processes} are allowed"
        if usage.threads > budget.threads:
            return f"it had {usage.threads} threads, and {budget.threads} are allowed"
        return ""

    def excess_in_size(self, usage: Usage) -> str:
        """What it takes too much of; empty when nothing.

        It may take long: the memory of a process is counted while it does not change.
        """
        budget = self.budget
        if 0 < budget.memory_bytes < usage.resident_bytes:
            held = _own_bytes(usage)
            if held > budget.memory_bytes:
                limit = f"{budget.memory_bytes // _MIB} MiB are allowed"
                return f"it and what it started held {held // _MIB} MiB of memory, and {limit}"
        if self.scratch.holds_more(budget.scratch_bytes, budget.scratch_entries):
            return (
                f"it wrote more than {budget.scratch_bytes // _MIB} MiB, or "
                f"{budget.scratch_entries} files, into its temporary folder"
            )
        return ""


class Oversight:
    """Looks after children once a second, and at once when many processes were started."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._children: dict[int, Overseen] = {}
        self._in_measurement: set[int] = set()
        self._is_running = False

    def begin(self, child: Overseen) -> None:
        """Look after `child` from now on."""
        with self._changed:
            self._children[child.group] = child
            self._changed.notify()
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="child-oversight", daemon=True).start()

    def stop(self, group: int) -> None:
        """Look after that child no longer."""
        with self._changed:
            self._children.pop(group, None)

    def _run(self) -> None:
        newest, looked_at = _newest_process(), monotonic()
        while True:
            with self._changed:
                while not self._children:
                    self._changed.wait()
            sleep(_LOOK_S)
            now = _newest_process()
            is_due = monotonic() - looked_at > _LONGEST_S
            if is_due or not 0 <= now - newest < _MANY_NEW:
                self._look(is_due=is_due)
                newest = now
            if is_due:
                looked_at = monotonic()

    def _look(self, *, is_due: bool) -> None:
        with self._changed:
            children = list(self._children.values())
        usages = usage_of_groups({child.group for child in children})
        for child in children:
            usage = usages.get(child.group, Usage())
            if reason := child.excess_in_number(usage):
                self._end(child, reason)
            elif is_due and child.group not in self._in_measurement:
                # aside: while one child is measured another may be starting its thousandth process
                self._in_measurement.add(child.group)
                measure = threading.Thread(target=self._measure, args=(child, usage), daemon=True)
                try:
                    measure.start()
                except RuntimeError:  # no thread is to be had now: the next look is soon
                    self._in_measurement.discard(child.group)

    def _measure(self, child: Overseen, usage: Usage) -> None:
        try:
            if reason := child.excess_in_size(usage):
                self._end(child, reason)
        finally:
            self._in_measurement.discard(child.group)

    def _end(self, child: Overseen, reason: str) -> None:
        self.stop(child.group)
        child.end(reason)


def usage_of_groups(groups: set[int]) -> Mapping[int, Usage]:
    """What each of these process groups has; those without a process are left out."""
    found: dict[int, Usage] = {}
    with suppress(OSError):
        for name in os.listdir(_PROC):  # noqa: PTH208 - one name a process
            if not name.isdigit():
                continue
            with suppress(OSError, ValueError, IndexError):
                # after the name in brackets: state, parent, group, …; proc(5) counts from 1
                fields = (_PROC / name / "stat").read_text().rpartition(")")[2].split()
                group = int(fields[2])
                if group in groups and fields[0] not in "ZX":
                    usage = found.get(group, Usage())
                    found[group] = replace(
                        usage,
                        processes=usage.processes + 1,
                        threads=usage.threads + int(fields[17]),
                        resident_bytes=usage.resident_bytes + int(fields[21]) * _PAGE_BYTES,
                        members=(*usage.members, int(name)),
                    )
    return found


def _own_bytes(usage: Usage) -> int:
    """The memory of a group with what its processes share counted once."""
    total_bytes = 0
    for pid in usage.members:
        try:
            lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
            total_bytes += next(int(n.split()[1]) for n in lines if n.startswith("Pss:")) * 1024
        except (OSError, StopIteration):
            continue
    return total_bytes


def _newest_process() -> int:
    """The id that the newest process or thread here got."""
    try:
        return int((_PROC / "loadavg").read_text().rpartition(" ")[2])
    except (OSError, ValueError):
        return 0


OVERSIGHT = Oversight()
"""Of this process: one thread looks after all children."""
