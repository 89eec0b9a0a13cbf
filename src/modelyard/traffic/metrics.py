"""The state of the traffic for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from modelyard.traffic.counts import INFINITY, ArmCounts, Histogram
from modelyard.traffic.plan import Mode
from modelyard.traffic.report import Report


class ReportMetrics(Collector):
    """The newest report, and the counts behind it, as Prometheus metrics."""

    def __init__(self) -> None:
        self.report: Report | None = None
        self.arms: Mapping[str, ArmCounts] = {}
        self.aborts = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Every metric with its current value."""
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
        yield from self._arm_metrics()
        keys = CounterMetricFamily(
            "modelyard_traffic_ab_requests",
            "Requests under A/B since the split was set, by whether they carried the key.",
            labels=["key"],
        )
        keys.add_metric(["present"], self.report.with_key)
        keys.add_metric(["absent"], self.report.without_key)
        yield keys

    def _arm_metrics(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "modelyard_traffic_requests", "Predictions since the split was set.", labels=["arm"]
        )
        faults = CounterMetricFamily(
            "modelyard_traffic_failures",
            "Predictions without a useful answer since the split was set.",
            labels=["arm", "reason"],
        )
        seconds = HistogramMetricFamily(
            "modelyard_traffic_predict_seconds",
            "Time of a prediction in the arm's servers since the split was set.",
            labels=["arm"],
        )
        scores = HistogramMetricFamily(
            "modelyard_traffic_prediction_scores",
            "Answers of the arm's model since the split was set, by their value.",
            labels=["arm"],
        )
        classes = CounterMetricFamily(
            "modelyard_traffic_classes",
            "Rows since the split was set, by their most likely class.",
            labels=["arm", "class"],
        )
        for name, arm in self.arms.items():
            requests.add_metric([name], max(arm.requests, 0))
            faults.add_metric([name, "error"], max(arm.failures, 0))
            faults.add_metric([name, "no-finite-answer"], max(arm.not_finite, 0))
            _add(seconds, name, arm.seconds)
            _add(scores, name, arm.scores)
            for label, rows in arm.classes.items():
                classes.add_metric([name, label], max(rows, 0))
        yield from (requests, faults, seconds, scores, classes)


def _add(family: HistogramMetricFamily, arm: str, histogram: Histogram) -> None:
    if histogram.counts:
        for bound in sorted(histogram.counts):
            name = "+Inf" if bound == INFINITY else str(bound)
            labels = {"arm": arm, "le": name}
            family.add_sample(f"{family.name}_bucket", labels, histogram.counts[bound])
        # `add_metric` would leave these two out where there are buckets below zero
        family.add_sample(f"{family.name}_count", {"arm": arm}, histogram.count)
        family.add_sample(f"{family.name}_sum", {"arm": arm}, histogram.total)
