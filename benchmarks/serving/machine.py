"""The machine, in words that name no host."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from benchmarks.serving.load import generator
from benchmarks.serving.places import CLIENT_CORE, SERVER_CORE


def describe() -> dict[str, str]:
    """Processor, memory, system and Python, and what makes the load."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    shared = " (the same: the load takes from the server)" if SERVER_CORE == CLIENT_CORE else ""
    return {
        "processor": f"{models[0] if models else platform.machine()}, {len(models)} cores",
        "memory": f"{gib:.0f} GiB",
        "system": f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}",
        "cores": f"server on one core, load on another one{shared}",
        "generator": generator(),
    }


def load() -> list[float]:
    """The load averages of now."""
    return [round(value, 2) for value in os.getloadavg()]
