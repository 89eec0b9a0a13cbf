"""`python -m modelyard.traffic`: keep the gateway at the wanted split, until SIGTERM.

It answers `/livez`, `/report` and `/metrics` inside the stack.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress

import httpx
import uvicorn

from modelyard.errors import TrafficError
from modelyard.logs import configure_logs, log_error
from modelyard.program import run_server
from modelyard.settings import TrafficSettings, read_settings
from modelyard.traffic.control import GatewayControl
from modelyard.traffic.judge import Limits
from modelyard.traffic.metrics import ReportMetrics
from modelyard.traffic.pages import Pages
from modelyard.traffic.plan import PlanStore
from modelyard.traffic.scrape import Scraper
from modelyard.traffic.watch import Arms, Watch


def main() -> int:
    """Watch; the exit code is that of the error that kept it from starting, else 0."""
    configure_logs()
    return run_server(_start, log_error)


def _start() -> None:
    settings = read_settings(TrafficSettings)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn ends by them, and raises them again: not before the gateway was told
        signal.signal(number, lambda *_: None)
    asyncio.run(watch(settings))


async def watch(settings: TrafficSettings) -> None:
    """Put the process together and run it until it is told to stop."""
    metrics = ReportMetrics()
    limits = Limits(
        window_s=settings.window_s,
        min_failures=settings.min_failures,
        max_failure_share=settings.max_failure_share,
        min_requests=settings.min_requests,
        latency_factor=settings.latency_factor,
        latency_floor_s=settings.latency_floor_ms / 1000,
    )
    config = uvicorn.Config(
        Pages(metrics),
        host="0.0.0.0",  # noqa: S104 - in a container, on the stack's network
        port=settings.port,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    async with httpx.AsyncClient() as client:
        keeper = Watch(
            PlanStore(settings.state_dir),
            GatewayControl(settings.socket),
            Arms(
                Scraper(settings.champion_url, client),
                Scraper(settings.challenger_url, client),
            ),
            limits,
            metrics,
            settings.poll_interval_s,
        )
        watching = asyncio.create_task(keeper.run())
        serving = asyncio.create_task(uvicorn.Server(config).serve())
        # whichever ends first ends the process: a watch that broke is not hidden behind /livez
        done, pending = await asyncio.wait((watching, serving), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        with suppress(TrafficError):
            await keeper.retire()
        for task in done:
            task.result()


if __name__ == "__main__":
    sys.exit(main())
