"""What the rest of the machine did during a turn: a turn that was disturbed is taken again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

MOST = 0.05
"""Share of one core that others may use during a turn that counts."""

_TICKS = os.sysconf("SC_CLK_TCK")


class Disturbance:
    """Processor time that was used since the start, and not by us or what we started."""

    def __init__(self) -> None:
        """Start to count."""
        self._began = _machine_s() - _own_s(), _uptime_s()

    def share(self) -> float:
        """Share of one core that others used on average."""
        others, since = self._began
        passed = _uptime_s() - since
        return max(0.0, _machine_s() - _own_s() - others) / passed if passed else 0.0


def _uptime_s() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def _machine_s() -> float:
    """User and system time of all cores; what interrupts take has no owner and is left out."""
    user, nice, system = Path("/proc/stat").read_text().split(maxsplit=4)[1:4]
    return (int(user) + int(nice) + int(system)) / _TICKS


def _own_s() -> float:
    """User and system time of this process and its descendants, also of those that ended."""
    times = dict(_times())
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in times.items():
        children.setdefault(parent, []).append(pid)
    found = [os.getpid()]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return sum(times[pid][1] for pid in found if pid in times) / _TICKS


def _times() -> Iterator[tuple[int, tuple[int, int]]]:
    """Each process: its parent, and ticks with those of its children that it has waited for."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                after_name = (entry / "stat").read_text().rpartition(")")[2].split()
                yield int(entry.name), (int(after_name[1]), sum(map(int, after_name[11:15])))
