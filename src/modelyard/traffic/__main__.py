"""`python -m modelyard.traffic`: keep the gateway at the chosen split, until SIGTERM.

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
from modelyard.traffic.judge import Guardrails
from modelyard.traffic.metrics import ReportMetrics
from modelyard.traffic.pages import Pages
from modelyard.traffic.plan import PlanStore
from modelyard.traffic.scrape import Scraper
from modelyard.traffic.watch import Arms, Watch


def main() -> int:
    """Run until a signal; the exit code is that of the error that prevented the start, else 0."""
    configure_logs()
    return run_server(_start, log_error)


def _start() -> None:
    settings = read_settings(TrafficSettings)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn stops on them and raises them again, but the gateway has to be told first
        signal.signal(number, lambda *_: None)
    asyncio.run(serve(settings))


async def serve(settings: TrafficSettings) -> None:
    """Build the process' parts and run them until a signal."""
    metrics = ReportMetrics()
    guardrails = Guardrails(
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
        watch = Watch(
            PlanStore(settings.state_dir),
            GatewayControl(settings.socket),
            Arms(
                Scraper(settings.champion_url, client),
                Scraper(settings.challenger_url, client),
            ),
            guardrails,
            metrics,
            settings.poll_interval_s,
        )
        watching = asyncio.create_task(watch.run())
        serving = asyncio.create_task(uvicorn.Server(config).serve())
        # whichever ends first ends the process, so that /livez cannot hide a broken watch
        done, pending = await asyncio.wait((watching, serving), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        with suppress(TrafficError):
            await watch.stop_split()
        for task in done:
            task.result()


if __name__ == "__main__":
    sys.exit(main())
