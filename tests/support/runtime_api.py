"""A gateway that speaks HAProxy's runtime API over a real socket, and a watch over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from modelyard.traffic.control import GatewayControl
from modelyard.traffic.judge import Guardrails
from modelyard.traffic.metrics import ReportMetrics
from modelyard.traffic.plan import PlanStore
from modelyard.traffic.scrape import Scraper
from modelyard.traffic.watch import Arms, Watch

COLUMNS = "pxname,svname,scur,stot,cli_abrt,status,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_other,"


@dataclass
class Gateway:
    """As much of HAProxy's runtime API as is used, over a socket in `folder`."""

    folder: Path
    entry: str = "off::"
    until: int = 0
    asked: int = 0
    answered: int = 0
    keyed: int = 0
    entries: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_unix_server(self._reply, self.folder / "control.sock")
        async with server:
            yield
        (self.folder / "control.sock").unlink(missing_ok=True)

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        command = (await reader.readline()).decode().strip()
        if command.startswith("set map"):
            self.entry, _, until = command.split()[-1].rpartition(":")
            self.until = int(until)
            self.entries.append(self.entry)
            writer.write(b"\n")
        else:
            row = f"arms,challenger1,0,{self.asked},0,UP,{self.answered},0,0,0,"
            up = "challengers,challenger1,0,0,0,UP,0,0,0,0,"
            writer.write(
                f'found=yes, key="split", value="{self.entry}:{self.until}", type="str"\n\n'
                f"sent=0 dropped=0 failed=0 present={self.keyed} absent=2\n\n"
                f"# {COLUMNS}\n{row}\n{up}\n\n".encode()
            )
        await writer.drain()
        writer.close()


@asynccontextmanager
async def watched(folder: Path) -> AsyncIterator[tuple[Watch, ReportMetrics]]:
    """A watch over the gateway and the plan in `folder`; no server can be asked."""
    metrics = ReportMetrics()
    async with httpx.AsyncClient() as client:
        nobody = Scraper("http://127.0.0.1:9", client)
        watch = Watch(
            PlanStore(folder),
            GatewayControl(folder / "control.sock"),
            Arms(nobody, nobody),
            Guardrails(min_failures=5),
            metrics,
            0.01,
        )
        yield watch, metrics
