"""Keeps the gateway at the wanted split, counts what both arms do, and ends what goes wrong."""

from __future__ import annotations

import asyncio
import logging
import math
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

_VALID_S = 3
"""A split that nobody renews ends at the gateway after so many seconds: this process may die, or
hang, and then nobody judges the challenger."""
_RENEWED_S = 2
"""It is renewed when it would hold for less than so many."""


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
        self._in_force = ""
        self._aborted = ""
        self._begin(Plan())
        self._trouble = ""
        self._challengers = 0

    async def run(self) -> None:
        """Look again and again."""
        await asyncio.gather(self._keep(), self._scrape())

    async def retire(self) -> None:
        """From now on nobody watches the challenger: it gets nothing.

        Raises:
            TrafficError: the gateway does not answer.
        """
        if self._plan.mode is not Mode.OFF:
            await self._gateway.split(Plan().entry)

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
        troubles = []
        for step in (self._take_up, self._tend):
            try:
                await step()
            except TrafficError as error:  # a plan that cannot be read is no reason not to judge
                troubles.append(error.sentence())
        self._note(" ".join(troubles))
        self._report()

    async def _take_up(self) -> None:
        """Begin with the plan in the store when it is a new one; save there what was aborted."""
        plan = self._store.read()
        if plan.id == self._aborted:  # it is over, whether or not that can be saved
            self._save_end(plan)
            return
        self._aborted = ""
        if plan.id != self._plan.id:
            self._begin(plan)
            if plan.mode is not Mode.OFF:
                await self._ask_servers()  # what they counted so far is not this plan's

    def _save_end(self, plan: Plan) -> None:
        try:
            self._store.exchange(plan, self._plan)  # not where somebody has just decided otherwise
        except TrafficError as error:
            raise TrafficError(
                f"The split has ended, and that cannot be saved. {error.detail}",
                fix="It is tried again. Free the disk: only the gateway remembers it until then.",
            ) from error

    async def _tend(self) -> None:
        """Keep the gateway at the plan, count, judge."""
        self._in_force = ""
        state = await self._gateway.state()
        self._challengers = state.challengers
        if state.entry == Plan(ended=self._plan.id).entry:
            self._end("A process before this one ended it, could not save that, and logged why.")
        await self._apply(state)
        self._ledger.add_gateway(state.servers)
        self._ledger.add_tally(state.tally)
        if self._plan.mode is not Mode.OFF:
            await self._judge()

    def _begin(self, plan: Plan) -> None:
        """Count from nought, save under "off": that shows what the split before it came to."""
        self._plan = plan
        if plan.mode is Mode.OFF and self._has_begun:
            return
        self._has_begun = True
        self._ledger = Ledger()
        self._window = Window(self._limits)
        self._since = datetime.now(UTC)

    async def _apply(self, state: GatewayState) -> None:
        """Put the plan in force, or keep it there: a split lasts only while it is renewed."""
        plan, now_s = self._plan, time.time()
        is_new = state.entry != plan.entry
        # also an end that is too far away: the clock was set back
        is_due = not _RENEWED_S <= state.until - now_s <= _VALID_S + 1
        if is_new or (is_due and plan.mode is not Mode.OFF):
            until = 0 if plan.mode is Mode.OFF else math.ceil(now_s) + _VALID_S
            await self._gateway.split(plan.entry, until)
        if is_new:
            by = f", by {plan.changed_by}" if plan.changed_by else ""
            log.info("The gateway splits anew: %s%s.", plan.describe(), by)
        elif plan.mode is not Mode.OFF and state.until <= now_s:
            log.warning("Nobody had watched, and the split had ended; again: %s.", plan.describe())
        self._in_force = plan.id

    async def _judge(self) -> None:
        """End the split when the challenger has failed."""
        counts = self._window.slide(
            time.monotonic(), self._ledger.champion, self._ledger.challenger
        )
        if not (reason := find_fault(*counts, self._limits)):
            return
        self._end(reason)
        # the gateway first: the file can wait, requests cannot
        await self._gateway.split(self._plan.entry)
        self._in_force = self._plan.id
        await self._take_up()

    def _end(self, reason: str) -> None:
        self._metrics.aborts += 1
        log.error("Aborted: %s. %s", self._plan.describe(), reason)
        self._aborted = self._plan.id
        self._plan = self._plan.abort(reason)  # the counts stay: they are the reason

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            if trouble:
                log.warning("%s", trouble)
            else:
                log.info("All is well again.")
        self._trouble = trouble

    def _report(self) -> None:
        ledger = self._ledger
        self._metrics.arms = {"champion": ledger.champion, "challenger": ledger.challenger}
        self._metrics.report = Report(
            plan=self._plan,
            applied=self._in_force == self._plan.id,
            trouble=self._trouble,
            challengers=self._challengers,
            counting_since=self._since,
            champion=ArmReport.of(ledger.champion),
            challenger=ArmReport.of(ledger.challenger),
            copies_dropped=ledger.tally.copies_dropped,
            with_key=ledger.tally.with_key,
            without_key=ledger.tally.without_key,
        )
