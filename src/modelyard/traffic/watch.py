"""Keeps the gateway at the chosen split, counts what both arms do, and ends a failing split."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from modelyard.errors import TrafficError
from modelyard.traffic.control import GatewayControl, GatewayState
from modelyard.traffic.judge import Guardrails, Window, find_fault
from modelyard.traffic.metrics import ReportMetrics
from modelyard.traffic.plan import Mode, Plan, PlanStore
from modelyard.traffic.report import ArmReport, Report
from modelyard.traffic.scrape import Scraper
from modelyard.traffic.totals import Totals

log = logging.getLogger(__name__)

_VALID_S = 3
"""Seconds after which the gateway ends a split that is not renewed: if this process dies or hangs,
nothing judges the challenger."""
_RENEWED_S = 2
"""A split is renewed when it has fewer seconds left."""


@dataclass(frozen=True)
class Arms:
    """The servers of both arms."""

    champion: Scraper
    challenger: Scraper


class Watch:
    """Reconciles the gateway with the saved plan, and ends the plan when the challenger fails.

    Args:
        store: the chosen split.
        gateway: the gateway that splits.
        arms: the servers.
        guardrails: when the challenger has failed.
        metrics: gets every new report.
        interval_s: seconds between two passes; servers are asked half as often.
    """

    def __init__(
        self,
        store: PlanStore,
        gateway: GatewayControl,
        arms: Arms,
        guardrails: Guardrails,
        metrics: ReportMetrics,
        interval_s: float,
    ) -> None:
        self._store = store
        self._gateway = gateway
        self._arms = arms
        self._guardrails = guardrails
        self._metrics = metrics
        self._interval_s = interval_s
        self._asking = asyncio.Lock()
        self._has_begun = False
        self._applied = ""
        self._aborted = ""
        self._begin(Plan())
        self._trouble = ""
        self._challengers = 0

    async def run(self) -> None:
        """Reconcile and ask the servers, again and again, until cancelled."""
        await asyncio.gather(
            _repeat(self.reconcile, self._interval_s),
            _repeat(self._ask_servers, 2 * self._interval_s),
        )

    async def stop_split(self) -> None:
        """Send everything to the champion: from now on, nothing watches the challenger.

        Raises:
            TrafficError: the gateway does not answer.
        """
        if self._plan.mode is not Mode.OFF:
            await self._gateway.split(Plan().entry)

    async def reconcile(self) -> None:
        """One pass: read the plan, apply it, count, judge, report."""
        troubles = []
        for step in (self._read_plan, self._keep_plan):
            try:
                await step()
            except TrafficError as error:  # a plan that cannot be read does not stop the judging
                troubles.append(error.sentence())
        trouble = " ".join(troubles)
        if trouble != self._trouble:
            if trouble:
                log.warning("%s", trouble)
            else:
                log.info("All is well again.")
        self._trouble = trouble
        totals = self._totals
        self._metrics.arms = {"champion": totals.champion, "challenger": totals.challenger}
        self._metrics.report = Report(
            plan=self._plan,
            applied=self._applied == self._plan.id,
            trouble=trouble,
            challengers=self._challengers,
            counting_since=self._since,
            champion=ArmReport.of(totals.champion),
            challenger=ArmReport.of(totals.challenger),
            copies_dropped=totals.gateway.copies_dropped,
            with_key=totals.gateway.with_key,
            without_key=totals.gateway.without_key,
        )

    async def _ask_servers(self) -> None:
        if self._plan.mode is Mode.OFF:
            return
        async with self._asking:  # an older answer after a newer one would look like a restart
            totals = self._totals
            champion, challenger = await asyncio.gather(
                self._arms.champion.read(), self._arms.challenger.read()
            )
            totals.add_champion(champion)
            totals.add_challenger(challenger)

    async def _read_plan(self) -> None:
        """Begin with the saved plan when it is new; save the end of the one that was aborted."""
        plan = self._store.read()
        if plan.id == self._aborted:  # it has ended, even if that cannot be saved
            try:
                self._store.exchange(plan, self._plan)  # unless another plan was just saved
            except TrafficError as error:
                raise TrafficError(
                    f"The split has ended, and that cannot be saved. {error.detail}",
                    fix="It is tried again. Free the disk: until then only the gateway knows it.",
                ) from error
            return
        self._aborted = ""
        if plan.id != self._plan.id:
            self._begin(plan)
            await self._ask_servers()  # what they counted so far does not belong to this plan

    async def _keep_plan(self) -> None:
        """Keep the gateway at the plan, count, judge."""
        self._applied = ""
        state = await self._gateway.state()
        self._challengers = state.challengers
        if state.entry == Plan(ended=self._plan.id).entry:
            self._abort("An earlier process ended it, could not save that, and logged the reason.")
        await self._apply(state)
        self._totals.add_gateway_servers(state.servers)
        self._totals.add_gateway(state.counts)
        if self._plan.mode is not Mode.OFF:
            await self._judge()

    def _begin(self, plan: Plan) -> None:
        """Count from zero; under "off" keep the counts, which are the result of the last split."""
        self._plan = plan
        if plan.mode is Mode.OFF and self._has_begun:
            return
        self._has_begun = True
        self._totals = Totals()
        self._window = Window(self._guardrails)
        self._since = datetime.now(UTC)

    async def _apply(self, state: GatewayState) -> None:
        """Set the plan in the gateway, or renew it: a split lasts only while it is renewed."""
        plan, now_s = self._plan, time.time()
        is_new = state.entry != plan.entry
        # an end too far away is also renewed: the clock was set back
        is_due = not _RENEWED_S <= state.until - now_s <= _VALID_S + 1
        if is_new or (is_due and plan.mode is not Mode.OFF):
            until = 0 if plan.mode is Mode.OFF else math.ceil(now_s) + _VALID_S
            await self._gateway.split(plan.entry, until)
        if is_new:
            by = f", by {plan.changed_by}" if plan.changed_by else ""
            log.info("The gateway has a new split: %s%s.", plan.describe(), by)
        elif plan.mode is not Mode.OFF and state.until <= now_s:
            log.warning("The split was not renewed and had ended; again: %s.", plan.describe())
        self._applied = plan.id

    async def _judge(self) -> None:
        """End the split when the challenger has failed."""
        champion, challenger = self._window.slide(
            time.monotonic(), self._totals.champion, self._totals.challenger
        )
        reason = find_fault(champion, challenger, self._guardrails)
        if not reason:
            return
        self._abort(reason)
        # the gateway first: the file can wait, requests cannot
        await self._gateway.split(self._plan.entry)
        self._applied = self._plan.id
        await self._read_plan()

    def _abort(self, reason: str) -> None:
        self._metrics.aborts += 1
        log.error("Aborted: %s. %s", self._plan.describe(), reason)
        self._aborted = self._plan.id
        self._plan = self._plan.abort(reason)  # the counts stay: they are the reason


async def _repeat(step: Callable[[], Awaitable[None]], interval_s: float) -> None:
    while True:
        await step()
        await asyncio.sleep(interval_s)
