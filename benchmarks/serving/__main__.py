"""`python -m benchmarks.serving [--quick] [PART ...]`: measure, and write benchmarks/README.md.

Parts: small swap start forest pyfunc bulk memory report. What is not measured now is taken from
the results of an earlier run, and the README says of when they are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from benchmarks.serving import (
    bulk,
    coldstart,
    contestants,
    environments,
    machine,
    report,
    swap,
    throughput,
)
from benchmarks.serving.models import Models, make_models
from benchmarks.serving.places import CLIENT_CORE, RESULTS, STATE
from benchmarks.serving.registry import Registry, running_registry

PARTS = ("small", "swap", "start", "forest", "pyfunc", "bulk", "memory")

_began = time.monotonic()


def say(line: str) -> None:
    """One line of progress, with the seconds since the start."""
    sys.stdout.write(f"{time.monotonic() - _began:6.0f} s  {line}\n")
    sys.stdout.flush()


def main() -> int:
    """See the module."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # stop what was started
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help="all of them by default")
    parser.add_argument("--quick", action="store_true", help="tiny rounds, to see that it runs")
    given = parser.parse_args()
    parts = given.parts or [*PARTS]
    if unknown := set(parts) - {*PARTS, "report"}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}, report")
    if wanted := [part for part in PARTS if part in parts]:
        _measure(wanted, is_quick=given.quick)
    report.write(RESULTS)
    say("benchmarks/README.md is written")
    return 0


def _measure(parts: list[str], *, is_quick: bool) -> None:
    for folder in (RESULTS, STATE / "cache"):
        folder.mkdir(parents=True, exist_ok=True)
    for name in (environments.OURS, *environments.PEER_NAMES):
        environments.prepare(name)
    os.sched_setaffinity(0, {CLIENT_CORE})
    say("models")
    models = make_models()
    with running_registry() as registry:
        for name, package in contestants.PUBLISHED.items():
            if models.path(package).is_dir():
                registry.publish(name, models.path(package))
        for part in parts:
            before = machine.load()
            found = _part(part, models, registry, is_quick=is_quick)
            content = {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "load_before": before,
                "is_quick": is_quick,
                "machine": machine.describe(),
                "found": found,
            }
            (RESULTS / f"{part}.json").write_text(json.dumps(content, indent=1))
    shutil.rmtree(STATE / "cache", ignore_errors=True)


def _part(part: str, models: Models, registry: Registry, *, is_quick: bool) -> dict[str, Any]:
    plan = throughput.Plan(2, 1, 1) if is_quick else throughput.Plan(4, 2, 1)
    few, many = (1, 20) if is_quick else (3, 500)
    listed = contestants.small(models, registry)
    other: dict[str, Callable[[], dict[str, Any]]] = {
        "start": lambda: coldstart.measure(
            coldstart.starters(registry, listed), models.rows, few, say
        ),
        "bulk": lambda: bulk.measure(models, registry, 1 if is_quick else 5, say),
        "swap": lambda: swap.measure_latency(models, registry, few if is_quick else 10, say),
        "memory": lambda: swap.measure_memory(models, registry, many, say),
    }
    if part in other:
        return other[part]()
    chosen = {"small": listed, "forest": contestants.forest(models, registry)}.get(
        part
    ) or contestants.pyfunc(models, registry)
    expected = models.expected["forest" if part == "forest" else "small"]
    return throughput.measure(part, chosen, models.rows, expected, plan, say)


if __name__ == "__main__":
    sys.exit(main())
