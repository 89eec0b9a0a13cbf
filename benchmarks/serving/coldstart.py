"""From the start of a process to its first prediction, and what it holds in memory then."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.serving.contestants import Contestant, ours
from benchmarks.serving.dialects import Row, native
from benchmarks.serving.network import answers_ok, free_port
from benchmarks.serving.places import STATE
from benchmarks.serving.registry import Registry
from benchmarks.serving.servers import RunningServer, ServerError

_CACHE = "cold-start"
_USES = 200


def starters(registry: Registry, contestants: Sequence[Contestant]) -> list[Contestant]:
    """Ours from the registry alone and from its cache; each peer from files that lie beside it."""
    host = ours(registry, "small", cache=_CACHE)
    mine = [
        Contestant(name, host, native(), is_ours=True)
        for name in ("Modelyard, empty cache", "Modelyard, from its cache")
    ]
    peers = [
        c
        for c in contestants
        if not c.is_ours and not c.is_limit and "scikit-learn form" not in c.name
    ]
    return mine + peers


def measure(
    contestants: Sequence[Contestant], rows: Sequence[Row], rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Contestant → seconds of each start, and memory after a few hundred predictions."""
    found: dict[str, Any] = {
        c.name: {"seconds": [], "rss_bytes": [], "is_ours": c.is_ours} for c in contestants
    }
    for turn in range(rounds):
        for contestant in contestants:
            if "empty" in contestant.name:
                shutil.rmtree(STATE / "cache" / _CACHE, ignore_errors=True)
            port = free_port()
            requests = [contestant.dialect.request(port, [row]) for row in rows[:_USES]]
            server = RunningServer(contestant.host.program(port))
            result = found[contestant.name]
            try:
                ready = server.wait_until(partial(answers_ok, port, requests[0]))
            except ServerError as error:
                result["failure"] = str(error)
                continue
            for request in requests:
                answers_ok(port, request)
            result["seconds"].append(ready)
            result["rss_bytes"].append(server.rss_bytes())
            server.stop()
            memory = result["rss_bytes"][-1] / 2**20
            say(f"start {turn + 1}/{rounds}: {contestant.name}: {ready:.2f} s, {memory:.0f} MiB")
    return found
