"""The watch against a real socket that speaks as HAProxy does, and real metrics pages over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from modelyard.traffic.control import GatewayControl
from modelyard.traffic.judge import Limits
from modelyard.traffic.metrics import ReportMetrics
from modelyard.traffic.plan import Mode, Plan, PlanStore
from modelyard.traffic.report import Report
from modelyard.traffic.scrape import Scraper
from modelyard.traffic.watch import Arms, Watch

CANARY = Plan(mode=Mode.CANARY, share_percent=10, changed_by="ada")
COLUMNS = "pxname,svname,scur,stot,cli_abrt,status,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_other,"


@dataclass
class Gateway:
    """As much of HAProxy's runtime API as is used, over a socket in `folder`."""

    folder: Path
    entry: str = "off::"
    asked: int = 0
    answered: int = 0
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
            self.entry = command.split()[-1]
            self.entries.append(self.entry)
            writer.write(b"\n")
        else:
            row = f"arms,challenger1,0,{self.asked},0,UP,{self.answered},0,0,0,"
            up = "challengers,challenger1,0,0,0,UP,0,0,0,0,"
            writer.write(
                f'found=yes, key="split", value="{self.entry}", type="str"\n\n'
                f"sent=0 dropped=0 failed=0\n\n# {COLUMNS}\n{row}\n{up}\n\n".encode()
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
            Limits(min_failures=5),
            metrics,
            0.01,
        )
        yield watch, metrics


def newest(metrics: ReportMetrics) -> Report:
    assert metrics.report is not None
    return metrics.report


def test_a_plan_is_put_in_force_and_kept_over_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(tmp_path)
        PlanStore(tmp_path).write(CANARY)
        async with watched(tmp_path) as (watch, metrics):
            async with gateway.running():
                await watch.look()
                assert gateway.entry == "canary:1000:"
                assert newest(metrics).applied
                await watch.look()
            await watch.look()
            assert not newest(metrics).applied
            assert "does not answer" in newest(metrics).trouble
            gateway.entry = "off::"  # what its file says
            async with gateway.running():
                await watch.look()
                assert newest(metrics).applied
                assert newest(metrics).trouble == ""
        assert gateway.entries == ["canary:1000:", "canary:1000:"], "told only where it differs"

    asyncio.run(story())


def test_a_challenger_that_fails_is_sent_home_for_good(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(tmp_path, asked=1000, answered=10)  # what was before does not count
        store = PlanStore(tmp_path)
        store.write(CANARY)
        async with gateway.running(), watched(tmp_path) as (watch, metrics):
            await watch.look()
            gateway.asked, gateway.answered = 1020, 26
            await watch.look()
            assert newest(metrics).applied, "four failures are chance"
            gateway.asked += 1
            await watch.look()
            assert gateway.entry == "off::"
            await watch.look()
            report = newest(metrics)
            assert report.plan == store.read()
            assert "5 of the challenger's last 21 predictions failed" in report.plan.aborted
            assert report.challenger.failures == 5, "the counts stay: they are the reason"
            assert metrics.aborts == 1
            assert "modelyard_traffic_aborts_total 1.0" in metrics.text().decode()
            # turned on again, it begins with a clean record
            store.write(Plan(mode=Mode.SHADOW))
            await watch.look()
            assert gateway.entry == "shadow::"
            assert newest(metrics).challenger.failures == 0

    asyncio.run(story())


def test_off_shows_what_the_split_before_it_came_to(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(tmp_path)
        store = PlanStore(tmp_path)
        store.write(CANARY)
        async with gateway.running(), watched(tmp_path) as (watch, metrics):
            await watch.look()
            gateway.asked = gateway.answered = 8
            await watch.look()
            store.write(Plan(changed_by="ada"))
            await watch.look()
            assert newest(metrics).plan.mode is Mode.OFF
            assert newest(metrics).challenger.requests == 8

    asyncio.run(story())


def test_a_plan_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(tmp_path)
        PlanStore(tmp_path).write(CANARY)
        async with gateway.running(), watched(tmp_path) as (watch, metrics):
            await watch.look()
            (tmp_path / "plan.json").write_text("half a pl")
            await watch.look()
            assert gateway.entry == "canary:1000:"
            assert "cannot be read" in newest(metrics).trouble

    asyncio.run(story())


def test_the_report_in_one_sentence(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(tmp_path)
        async with gateway.running(), watched(tmp_path) as (watch, metrics):
            await watch.look()
            assert newest(metrics).sentence() == "off: the champion answers everything"
            PlanStore(tmp_path).write(CANARY.abort("it failed."))
            await watch.look()
            assert newest(metrics).sentence().endswith("was aborted: it failed.")

    asyncio.run(story())
