"""Keeps the gateway at the wanted split, counts what both arms do, and ends what goes wrong."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from modelyard.errors import TrafficError
from modelyard.traffic.control import GatewayControl, GatewayState
from modelyard.traffic.judge import Limits, Window, find_fault
from modelyard.traffic.ledger import Ledger
from modelyard.traffic.metrics import ReportMetrics
from modelyard.traffic.plan import Mode, Plan, PlanStore
from modelyard.traffic.report import ArmReport, Report
from modelyard.traffic.scrape import Scraper

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arms:
    """Where the servers of both arms tell what they count."""

    champion: Scraper
    challenger: Scraper


class Watch:
    """See above; `run` until it is cancelled.

    Args:
        store: the wanted split.
        gateway: the gateway that shall split.
        arms: the servers.
        limits: when the challenger has failed.
        metrics: is told every new report.
        interval_s: seconds between two looks at the gateway; servers are asked half as often.
    """

    def __init__(
        self,
        store: PlanStore,
        gateway: GatewayControl,
        arms: Arms,
        limits: Limits,
        metrics: ReportMetrics,
        interval_s: float,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._arms = arms
        self._limits = limits
        self._metrics = metrics
        self._interval_s = interval_s
        self._asking = asyncio.Lock()
        self._has_begun = False
        self._begin(Plan())
        self._trouble = ""
        self._challengers = 0

    async def run(self) -> None:
        """Look again and again."""
        await asyncio.gather(self._keep(), self._scrape())

    async def _keep(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._interval_s)

    async def _scrape(self) -> None:
        while True:
            if self._plan.mode is not Mode.OFF:
                await self._ask_servers()
            await asyncio.sleep(2 * self._interval_s)

    async def _ask_servers(self) -> None:
        async with self._asking:  # an older answer after a newer one would look like a restart
            ledger = self._ledger
            champion, challenger = await asyncio.gather(
                self._arms.champion.read(), self._arms.challenger.read()
            )
            ledger.add_champion(champion)
            ledger.add_challenger(challenger)

    async def look(self) -> None:
        """One look: take a new plan up, put it in force, count, judge, report."""
        applied = False
        try:
            plan = self._store.read()
            if plan.id != self._plan.id:
                self._begin(plan)
                if plan.mode is not Mode.OFF:
                    await self._ask_servers()  # what they counted so far is not this plan's
            state = await self._gateway.state()
            self._challengers = state.challengers
            applied = await self._apply(state)
            self._ledger.add_gateway(state.servers)
            self._ledger.add_dropped(state.copies_dropped)
            if self._plan.mode is not Mode.OFF:
                applied = await self._judge() and applied
            self._note("")
        except TrafficError as error:
            self._note(error.sentence())
        self._report(applied=applied)

    def _begin(self, plan: Plan) -> None:
        """Count from nought, save under "off": that shows what the split before it came to."""
        self._plan = plan
        if plan.mode is Mode.OFF and self._has_begun:
            return
        self._has_begun = True
        self._ledger = Ledger()
        self._window = Window(self._limits)
        self._since = datetime.now(UTC)

    async def _apply(self, state: GatewayState) -> bool:
        if state.entry == self._plan.entry:
            return True
        await self._gateway.split(self._plan.entry)
        by = f", by {self._plan.changed_by}" if self._plan.changed_by else ""
        log.info("The gateway splits anew: %s%s.", self._plan.describe(), by)
        return True

    async def _judge(self) -> bool:
        """End the split when the challenger has failed; True when it goes on."""
        counts = self._window.slide(
            time.monotonic(), self._ledger.champion, self._ledger.challenger
        )
        if not (reason := find_fault(*counts, self._limits)):
            return True
        ended = self._plan.abort(reason)
        # the gateway first: the file can wait, requests cannot
        await self._gateway.split(ended.entry)
        if self._store.exchange(self._plan, ended):
            self._metrics.aborts += 1
            log.error("Aborted: %s. %s", self._plan.describe(), reason)
            self._plan = ended  # the counts stay: they are the reason
        return False

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            if trouble:
                log.warning("%s", trouble)
            else:
                log.info("The gateway answers again.")
        self._trouble = trouble

    def _report(self, *, applied: bool) -> None:
        self._metrics.report = Report(
            plan=self._plan,
            applied=applied,
            trouble=self._trouble,
            challengers=self._challengers,
            counting_since=self._since,
            champion=ArmReport.of(self._ledger.champion),
            challenger=ArmReport.of(self._ledger.challenger),
            copies_dropped=self._ledger.copies_dropped,
        )
