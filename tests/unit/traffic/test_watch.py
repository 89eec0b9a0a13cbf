"""The watch against a real socket that speaks as HAProxy does, and real metrics pages over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.traffic.counts import INFINITY, ArmCounts, Histogram
from modelyard.traffic.metrics import ReportMetrics
from modelyard.traffic.plan import Mode, Plan, PlanStore
from modelyard.traffic.report import Report
from modelyard.traffic.watch import Watch
from support.runtime_api import Gateway, watched

CANARY = Plan(mode=Mode.CANARY, share_percent=10, changed_by="ada")


@asynccontextmanager
async def canary(folder: Path) -> AsyncIterator[tuple[Gateway, Watch, ReportMetrics]]:
    """A gateway, and a watch that has put `CANARY` in force there."""
    gateway = Gateway(folder)
    PlanStore(folder).write(CANARY)
    async with gateway.running(), watched(folder) as (watch, metrics):
        await watch.reconcile()
        yield gateway, watch, metrics


def newest(metrics: ReportMetrics) -> Report:
    assert metrics.report is not None
    return metrics.report


def test_a_plan_is_put_in_force_and_kept_over_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(tmp_path)
        PlanStore(tmp_path).write(CANARY)
        async with watched(tmp_path) as (watch, metrics):
            async with gateway.running():
                await watch.reconcile()
                assert gateway.entry == "canary:1000:"
                assert newest(metrics).applied
                await watch.reconcile()
            await watch.reconcile()
            assert not newest(metrics).applied
            assert "does not answer" in newest(metrics).trouble
            gateway.entry, gateway.until = "off::", 0  # what its file says
            async with gateway.running():
                await watch.reconcile()
                assert newest(metrics).applied
                assert newest(metrics).trouble == ""
        assert set(gateway.entries) == {"canary:1000:"}

    asyncio.run(story())


def test_a_split_lasts_only_while_it_is_renewed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        gateway = Gateway(tmp_path)
        store = PlanStore(tmp_path)
        store.write(CANARY)

        async with gateway.running(), watched(tmp_path) as (watch, _):
            # new; soon over; over, for this process hung; far away, for the clock was set back
            for left in (0, 1, -60, 3600):
                began = time.time()
                gateway.until = int(began) + left
                await watch.reconcile()
                assert began + 3 <= gateway.until <= time.time() + 4
            assert gateway.entries == ["canary:1000:"] * 4
            assert "was not renewed and had ended" in caplog.text
            # far from over: it is not told again
            gateway.until = int(time.time()) + 4
            await watch.reconcile()
            assert len(gateway.entries) == 4
            store.write(Plan())
            await watch.reconcile()
            await watch.reconcile()
            assert (gateway.entry, gateway.until, len(gateway.entries)) == ("off::", 0, 5)

    asyncio.run(story())


def test_a_challenger_that_fails_is_sent_home_for_good(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(tmp_path, asked=1000, answered=10)  # what was before does not count
        store = PlanStore(tmp_path)
        store.write(CANARY)
        async with gateway.running(), watched(tmp_path) as (watch, metrics):
            await watch.reconcile()
            gateway.asked, gateway.answered = 1020, 26
            await watch.reconcile()
            assert newest(metrics).applied, "four failures are chance"
            gateway.asked += 1
            await watch.reconcile()
            assert gateway.entry == f"off::{CANARY.id}"
            await watch.reconcile()
            report = newest(metrics)
            assert report.plan == store.read()
            assert "5 of the challenger's last 21 predictions failed" in report.plan.aborted
            assert report.challenger.failures == 5, "the counts stay: they are the reason"
            assert metrics.aborts == 1
            assert "modelyard_traffic_aborts_total 1.0" in metrics.text().decode()
            # turned on again, it begins with a clean record
            store.write(Plan(mode=Mode.SHADOW))
            await watch.reconcile()
            assert gateway.entry == "shadow::"
            assert newest(metrics).challenger.failures == 0

    asyncio.run(story())


def test_an_end_that_cannot_be_saved_holds_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        async with canary(tmp_path) as (gateway, watch, metrics):
            store = PlanStore(tmp_path)
            # the plan can be read, and nothing can be written: the lock is no file
            (tmp_path / "plan.lock").unlink()
            (tmp_path / "plan.lock").mkdir()
            gateway.asked = 20
            for _ in range(4):
                await watch.reconcile()
                report = newest(metrics)
                assert "20 of the challenger's last 20 predictions failed" in report.plan.aborted
                assert report.applied
                assert "cannot be saved" in report.trouble
                assert "cannot be written" in report.trouble
            off = f"off::{CANARY.id}"
            assert gateway.entries == ["canary:1000:", off], "it is not begun again"
            assert metrics.aborts == 1
            assert store.read() == CANARY
            assert caplog.text.count("Aborted: canary: 10 %") == 1
            assert caplog.text.count("cannot be saved") == 1

            # nor by a process that starts in its place, after this one was told to stop
            await watch.stop_split()
            async with watched(tmp_path) as (successor, later):
                for _ in range(2):
                    await successor.reconcile()
                    assert "earlier process ended it" in newest(later).plan.aborted
                    assert newest(later).applied
                assert "cannot be saved" in newest(later).trouble
                assert set(gateway.entries[1:]) == {off}

            (tmp_path / "plan.lock").rmdir()
            await watch.reconcile()
            await watch.reconcile()
            assert newest(metrics).trouble == ""
            assert store.read() == newest(metrics).plan == report.plan
            # and a later decision holds as ever
            store.write(CANARY.model_copy(update={"id": "another"}))
            await watch.reconcile()
            assert gateway.entry == "canary:1000:"

    asyncio.run(story())


def test_a_decision_after_an_unsaved_end_is_taken_up(tmp_path: Path) -> None:
    async def story() -> None:
        async with canary(tmp_path) as (gateway, watch, metrics):
            store = PlanStore(tmp_path)
            (tmp_path / "plan.lock").unlink()
            (tmp_path / "plan.lock").mkdir()
            gateway.asked = 20
            await watch.reconcile()
            assert newest(metrics).plan.aborted
            (tmp_path / "plan.lock").rmdir()
            store.write(Plan(mode=Mode.SHADOW))
            await watch.reconcile()
            assert gateway.entry == "shadow::"
            assert store.read().mode is Mode.SHADOW

    asyncio.run(story())


def test_who_stops_watching_takes_the_split_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with canary(tmp_path) as (gateway, watch, _):
            assert gateway.entry == "canary:1000:"
            await watch.stop_split()
            assert (gateway.entry, gateway.until) == ("off::", 0)

    asyncio.run(story())


def test_off_shows_what_the_split_before_it_came_to(tmp_path: Path) -> None:
    async def story() -> None:
        async with canary(tmp_path) as (gateway, watch, metrics):
            store = PlanStore(tmp_path)
            gateway.asked = gateway.answered = 8
            await watch.reconcile()
            store.write(Plan(changed_by="ada"))
            await watch.reconcile()
            assert newest(metrics).plan.mode is Mode.OFF
            assert newest(metrics).challenger.requests == 8

    asyncio.run(story())


def test_a_plan_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with canary(tmp_path) as (gateway, watch, metrics):
            (tmp_path / "plan.json").write_text("half a pl")
            await watch.reconcile()
            assert gateway.entry == "canary:1000:"
            assert "cannot be read" in newest(metrics).trouble
            assert newest(metrics).applied
            # the challenger is judged all the same, and its end holds
            gateway.asked = 20
            await watch.reconcile()
            await watch.reconcile()
            assert gateway.entry == f"off::{CANARY.id}"
            assert newest(metrics).plan.aborted

    asyncio.run(story())


def test_both_arms_and_the_keys_are_in_the_metrics(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(tmp_path)
        PlanStore(tmp_path).write(Plan(mode=Mode.AB, share_percent=50, header="X-Key"))
        async with gateway.running(), watched(tmp_path) as (watch, metrics):
            await watch.reconcile()
            gateway.asked = gateway.answered = 8
            gateway.keyed = 6
            await watch.reconcile()
            assert (newest(metrics).with_key, newest(metrics).without_key) == (6, 0)
            signed = Histogram({-1.0: 1, 2.0: 2, INFINITY: 4}, 5.5)
            arm = ArmCounts(requests=4, seconds=Histogram({0.1: 4, INFINITY: 4}, 0.2))
            metrics.arms = {
                "champion": arm,
                "challenger": replace(arm, scores=signed, classes={"ant": 3}),
            }
            text = metrics.text().decode()
            for line in (
                'modelyard_traffic_requests_total{arm="champion"} 4.0',
                'modelyard_traffic_predict_seconds_bucket{arm="champion",le="0.1"} 4.0',
                'modelyard_traffic_predict_seconds_sum{arm="challenger"} 0.2',
                'modelyard_traffic_prediction_scores_bucket{arm="challenger",le="-1.0"} 1.0',
                'modelyard_traffic_prediction_scores_count{arm="challenger"} 4.0',
                'modelyard_traffic_prediction_scores_sum{arm="challenger"} 5.5',
                'modelyard_traffic_classes_total{arm="challenger",class="ant"} 3.0',
                'modelyard_traffic_ab_requests_total{key="present"} 6.0',
            ):
                assert line in text.splitlines()

    asyncio.run(story())


def test_the_report_in_one_sentence(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(tmp_path)
        async with gateway.running(), watched(tmp_path) as (watch, metrics):
            await watch.reconcile()
            assert newest(metrics).sentence() == "off: the champion answers everything"
            PlanStore(tmp_path).write(CANARY.abort("it failed."))
            await watch.reconcile()
            assert newest(metrics).sentence().endswith("was aborted: it failed.")

    asyncio.run(story())
