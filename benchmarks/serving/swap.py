"""New versions under load: who waits, who fails, and what stays in memory afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.serving.contestants import ours
from benchmarks.serving.dialects import native
from benchmarks.serving.load import parse, start_open_loop, write_requests
from benchmarks.serving.models import Models
from benchmarks.serving.network import answers_ok, exchange, free_port
from benchmarks.serving.places import STATE
from benchmarks.serving.registry import Registry
from benchmarks.serving.servers import RunningServer

RATE = 3_000
_CONNECTIONS = 64
_NAME = "swapped"
_TOKEN = "sesame"  # noqa: S105 - of a server that lives for seconds on 127.0.0.1
_LEAD_S = 3.0
_PAUSE_S = 1.5
_AFTER_S = 0.25
"""A request is in a swap from the order to reload until a quarter of a second after its end."""

Say = Callable[[str], None]


class SwapError(Exception):
    """A swap was refused."""


class Swapped:
    """Our server, and the order to look at the registry now."""

    def __init__(self, models: Models, registry: Registry) -> None:
        """Start it on the first version."""
        self.registry = registry
        self.package = models.path("small/onnx")
        self.versions = [registry.publish(_NAME, self.package)]
        token = STATE / "token"
        token.write_text(_TOKEN)
        self.port = free_port()
        program = ours(registry, _NAME, token=token).program(self.port)
        self.server = RunningServer(program)
        self.requests = [native().request(self.port, [row]) for row in models.rows]
        self.server.wait_until(lambda: answers_ok(self.port, self.requests[0]))

    def publish(self, count: int) -> None:
        """Register so many more versions; none is promoted yet."""
        for _ in range(count):
            self.versions.append(self.registry.publish(_NAME, self.package, promote=False))

    def swap(self, version: str) -> tuple[float, float]:
        """Promote `version` and wait until it is served; when that began and ended."""
        self.registry.promote(_NAME, version)
        head = f"POST /admin/reload HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
        head += f"Authorization: Bearer {_TOKEN}\r\nContent-Length: 0\r\n\r\n"
        began = time.perf_counter()
        status, headers, body = exchange(self.port, head.encode())
        if headers.get("x-model-version") != version:
            raise SwapError(f"version {version}: {status} {body[:300].decode(errors='replace')}")
        return began, time.perf_counter()


def measure_latency(models: Models, registry: Registry, swaps: int, say: Say) -> dict[str, Any]:
    """Times of requests that come at a fixed rate, within a swap and outside."""
    swapped = Swapped(models, registry)
    try:
        swapped.publish(swaps)
        path = write_requests("swap", swapped.requests)
        record = STATE / "swap.npz"
        seconds = _LEAD_S + swaps * _PAUSE_S + 1.0
        load = start_open_loop(swapped.port, path, seconds, _CONNECTIONS, RATE, record)
        time.sleep(_LEAD_S)
        windows = []
        for version in swapped.versions[1:]:
            windows.append(swapped.swap(version))
            say(f"swap to version {version}: {(windows[-1][1] - windows[-1][0]) * 1e3:.0f} ms")
            time.sleep(_PAUSE_S)
        output, _ = load.communicate(timeout=60)
    finally:
        swapped.server.stop()
    measured = parse(output)
    with np.load(record) as times:
        found = _split(times["due"], times["us"], times["version"], windows)
    return found | {
        "rate": RATE,
        "requests": measured.requests,
        "failed": measured.failed,
        "swaps": swaps,
        "swap_ms": [(end - begin) * 1e3 for begin, end in windows],
    }


def _split(
    due: np.ndarray, us: np.ndarray, version: np.ndarray, windows: list[tuple[float, float]]
) -> dict[str, Any]:
    """Percentiles within the windows and outside; both clocks are the machine's monotonic one."""
    within = np.zeros(len(due), dtype=bool)
    for begin, end in windows:
        within |= (due >= begin) & (due <= end + _AFTER_S)
    steady = ~within & (due > due.min() + 1.0)
    found: dict[str, Any] = {"versions_seen": len(set(version[version > 0].tolist()))}
    for name, chosen in (("during", within), ("steady", steady)):
        p50, p99, p999 = np.percentile(us[chosen], [50, 99, 99.9])
        found[name] = {
            "requests": int(chosen.sum()),
            "p50_us": p50,
            "p99_us": p99,
            "p999_us": p999,
            "max_us": float(us[chosen].max()),
        }
    return found


def measure_memory(models: Models, registry: Registry, swaps: int, say: Say) -> dict[str, Any]:
    """Resident memory after each of many swaps between two versions, and the slope of its end."""
    swapped = Swapped(models, registry)
    try:
        swapped.publish(1)
        rss = [swapped.server.rss_bytes()]
        began = time.perf_counter()
        for number in range(1, swaps + 1):
            swapped.swap(swapped.versions[number % 2])
            for request in swapped.requests[:5]:
                answers_ok(swapped.port, request)
            rss.append(swapped.server.rss_bytes())
        took = time.perf_counter() - began
    finally:
        swapped.server.stop()
    late = np.array(rss[len(rss) // 5 :]) / 2**20  # the first fifth is the allocator's warming up
    slope = float(np.polyfit(np.arange(len(late)), late, 1)[0])
    say(
        f"{swaps} swaps: {rss[0] / 2**20:.0f} to {rss[-1] / 2**20:.0f} MiB, "
        f"{slope * 1024:.1f} KiB each"
    )
    return {"swaps": swaps, "seconds": took, "rss_bytes": rss, "slope_mib_per_swap": slope}
