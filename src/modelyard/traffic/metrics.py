"""What the traffic does now, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from modelyard.traffic.plan import Mode
from modelyard.traffic.report import Report


class ReportMetrics(Collector):
    """The newest report as Prometheus metrics."""

    def __init__(self) -> None:
        self.report: Report | None = None
        self.aborts = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Every metric of ours, as it is now."""
        yield CounterMetricFamily(
            "modelyard_traffic_aborts", "Splits that ended by themselves.", value=self.aborts
        )
        if self.report is None:
            return
        plan = self.report.plan
        mode = GaugeMetricFamily(
            "modelyard_traffic_mode", "1 for the split that holds.", labels=["mode"]
        )
        for each in Mode:
            mode.add_metric([each.value], int(plan.mode is each))
        yield mode
        yield GaugeMetricFamily(
            "modelyard_traffic_share",
            "Share of the predictions that goes to the challenger, 0 to 1.",
            value=(plan.share_percent or 0.0) / 100,
        )
        requests = CounterMetricFamily(
            "modelyard_traffic_requests", "Predictions since the split was set.", labels=["arm"]
        )
        faults = CounterMetricFamily(
            "modelyard_traffic_failures",
            "Predictions without a useful answer since the split was set.",
            labels=["arm", "reason"],
        )
        arms = {"champion": self.report.champion, "challenger": self.report.challenger}
        for name, arm in arms.items():
            requests.add_metric([name], arm.requests)
            faults.add_metric([name, "error"], arm.failures)
            faults.add_metric([name, "no-finite-answer"], arm.not_finite)
        yield from (requests, faults)
