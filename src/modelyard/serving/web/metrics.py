"""The metrics at `/metrics`.

A request adds to plain integers in the event loop's thread; prometheus-client's own counters with
their locks would cost more than the model. The integers become metrics when they are scraped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from modelyard.serving.following.follower import Follower
from modelyard.serving.model.holder import Holder
from modelyard.serving.model.tenure import Tenure
from modelyard.serving.web.recorder import Recorder
from modelyard.serving.web.scores import Scores

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 512, 4096, 32768)
_OK, _BAD_REQUEST, _SERVER_ERROR = 200, 400, 500


class Tally:
    """A histogram of plain integers."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        """Add the histogram to `family`, in Prometheus' cumulative buckets."""
        buckets, total = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), total))
        family.add_metric(labels, buckets, self._sum)


class ServingMetrics(Collector):
    """Counts, and shows the counts when scraped. Used from the event loop's thread only."""

    def __init__(self, holder: Holder, follower: Follower, recorder: Recorder) -> None:
        self._holder = holder
        self._follower = follower
        self.recorder = recorder
        self._requests: Counter[tuple[str, int]] = Counter()
        self._refusals: Counter[str] = Counter()
        self._seconds: defaultdict[str, Tally] = defaultdict(lambda: Tally(_SECONDS))
        self._batch_rows = Tally(_ROWS)
        self._rows = 0
        self.in_flight = 0
        self.scores = Scores(self._count_answers)
        self._tenure: Tenure | None = None
        self._answers_counted = 0
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def request(self, route: str, status: int) -> None:
        """One request was answered."""
        self._requests[route, status] += 1

    def prediction(self, route: str, status: int, seconds: float) -> None:
        """One request for predictions was answered."""
        self._requests[route, status] += 1
        self._seconds[route].add(seconds)

    def batch(self, rows: int) -> None:
        """One call of a model with `rows` rows."""
        self._batch_rows.add(rows)
        self._rows += rows

    def refusal(self, kind: str) -> None:
        """One prediction was refused, or failed."""
        self._refusals[kind] += 1

    def failure(self, tenure: Tenure, kind: str) -> None:
        """A version failed on a request."""
        self._count_answers(self._tenure)
        tenure.fail(kind)

    def trouble(self) -> str:
        """Why the served version is called failing; empty while it is not, or none is served."""
        snapshot = self._holder.snapshot
        if snapshot is None:
            return ""
        self._count_answers(self._tenure)
        trouble = snapshot.tenure.trouble
        return f"Version {snapshot.version.version} {trouble}." if trouble else ""

    def _count_answers(self, tenure: Tenure | None) -> None:
        """Give the answers since the last time to the version that gave them; `tenure` is next.

        So an answer costs nothing but being counted by its route, as it always is.
        """
        total = sum(self._requests[route, _OK] for route in self._seconds)
        if self._tenure is not None:
            self._tenure.answers += total - self._answers_counted
        self._tenure, self._answers_counted = tenure, total

    def text(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Every metric of this server, as it is now."""
        requests = CounterMetricFamily(
            "modelyard_requests", "Requests answered.", labels=["route", "status"]
        )
        errors = CounterMetricFamily(
            "modelyard_errors", "Requests answered with an error.", labels=["route", "class"]
        )
        failed: Counter[tuple[str, str]] = Counter()
        for (route, status), count in self._requests.items():
            requests.add_metric([route, str(status)], count)
            if status >= _BAD_REQUEST:
                failed[route, "client" if status < _SERVER_ERROR else "server"] += count
        for labels, count in failed.items():
            errors.add_metric(labels, count)
        refusals = CounterMetricFamily(
            "modelyard_refusals", "Predictions refused or failed, by reason.", labels=["reason"]
        )
        for kind, count in self._refusals.items():
            refusals.add_metric([kind], count)
        loads = CounterMetricFamily(
            "modelyard_model_loads", "Attempts to load a model version.", labels=["result"]
        )
        for result, count in self._follower.loads.items():
            loads.add_metric([result], count)
        yield from (requests, errors, refusals, loads)
        yield CounterMetricFamily("modelyard_rows", "Rows given to a model.", value=self._rows)
        seconds = HistogramMetricFamily(
            "modelyard_predict_seconds", "Time of a request for predictions.", labels=["route"]
        )
        for route, tally in self._seconds.items():
            tally.add_to(seconds, [route])
        rows = HistogramMetricFamily("modelyard_batch_rows", "Rows in one call of a model.")
        self._batch_rows.add_to(rows)
        yield from (seconds, rows, self.scores.family())
        yield GaugeMetricFamily(
            "modelyard_in_flight", "Requests for predictions under way.", value=self.in_flight
        )
        logged = CounterMetricFamily(
            "modelyard_predictions_logged",
            "Requests for predictions in the prediction log; lost: it could not be written.",
            labels=["result"],
        )
        logged.add_metric(["written"], self.recorder.written)
        logged.add_metric(["lost"], self.recorder.lost)
        yield logged
        yield GaugeMetricFamily(
            "modelyard_prediction_log_failing",
            "1 while predictions cannot be written to the prediction log.",
            value=int(bool(self.recorder.look_again())),
        )
        lost_at = self.recorder.troubled_at
        yield GaugeMetricFamily(
            "modelyard_prediction_log_lost_timestamp_seconds",
            "When a prediction was last not written to the log; 0 for never.",
            value=lost_at.timestamp() if lost_at else 0,
        )
        yield from self._model_metrics()

    def _model_metrics(self) -> Iterator[Metric]:
        snapshot = self._holder.snapshot
        yield GaugeMetricFamily(
            "modelyard_ready", "1 while a model is served.", value=int(snapshot is not None)
        )
        yield GaugeMetricFamily(
            "modelyard_stale",
            "1 while the registry has not confirmed what is served.",
            value=int(self._follower.is_stale),
        )
        yield GaugeMetricFamily(
            "modelyard_last_swap_succeeded",
            "0 while what the registry means could not be found, loaded or served.",
            value=int(self._follower.report.error is None),
        )
        yield GaugeMetricFamily(
            "modelyard_failing",
            "1 while the served version fails on every request.",
            value=int(bool(self.trouble())),
        )
        if snapshot is None:
            return
        version, tenure = snapshot.version, snapshot.tenure
        outcomes = CounterMetricFamily(
            "modelyard_version_requests",
            "Requests that reached the served version since it was taken up, by their outcome.",
            labels=["version", "outcome"],
        )
        outcomes.add_metric([version.version, "answered"], tenure.answers)
        outcomes.add_metric([version.version, "failed"], tenure.failures)
        yield outcomes
        labels = {"name": version.name, "version": version.version, "run_id": version.run_id}
        yield InfoMetricFamily("modelyard_model", "The served model version.", value=labels)
        yield GaugeMetricFamily(
            "modelyard_model_loaded_timestamp_seconds",
            "When the served version was loaded.",
            value=snapshot.loaded_at.timestamp(),
        )
