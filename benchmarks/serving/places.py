"""Where things are, and which core does what."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
PEERS = BENCHMARKS / "peers"
STATE = ROOT / ".modelyard" / "bench"
RESULTS = STATE / "results"
LOGS = STATE / "logs"

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = _CORES[0]
CLIENT_CORE = _CORES[-1]
"""The same as the server's on a machine with one core; the report says so."""


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started meanwhile runs on `core`, with all that it starts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
