"""Histograms, metrics pages and the totals that add them up over restarts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client import Histogram as PrometheusHistogram

from modelyard.traffic.control import GatewayCounts, ServerCounts
from modelyard.traffic.counts import INFINITY, ArmCounts, Histogram
from modelyard.traffic.scrape import read_metrics
from modelyard.traffic.totals import Totals

BOUNDS = (0.001, 0.01, 0.1, 1.0)


def histogram(values: list[float]) -> Histogram:
    counts = {bound: float(sum(v <= bound for v in values)) for bound in (*BOUNDS, INFINITY)}
    return Histogram(counts, sum(values))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(values: list[float], q: float) -> None:
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    edges = [0.0, *BOUNDS]
    bucket = next(i for i in range(1, len(edges)) if exact <= edges[i])
    found = histogram(values).quantile(q)
    assert found is not None
    assert edges[bucket - 1] - 1e-12 <= found <= edges[bucket] + 1e-12


def test_beyond_the_last_bound_a_quantile_is_that_bound() -> None:
    assert histogram([5.0, 6.0]).quantile(0.5) == 1.0


def test_quantiles_below_nought() -> None:
    signed = Histogram({-10.0: 1, -1.0: 5, 0.0: 6, 1.0: 9, INFINITY: 10}, -20)
    assert signed.quantile(0.05) == -10, "nobody knows how far below"
    assert signed.quantile(0.3) == -10 + 9 * 2 / 4
    assert signed.quantile(0.6) == 0
    assert signed.quantile(0.75) == 0.5
    assert signed.quantile(1) == 1


def test_other_bounds_are_added_as_far_as_they_are_known() -> None:
    """A champion of probabilities is replaced by one of values."""
    both = Histogram({0.5: 2, 1.0: 3, INFINITY: 3}, 2) + Histogram({0.7: 4, INFINITY: 5}, 9)
    assert both.counts == {0.5: 2, 0.7: 2 + 4, 1.0: 3 + 4, INFINITY: 8}
    assert both.mean == 11 / 8


def test_nothing_has_no_quantile_and_no_mean() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().mean is None
    assert (histogram([0.5]) - histogram([0.5])).mean is None
    assert Histogram({INFINITY: 3}, 6).quantile(0.5) is None, "no bounds"


@given(st.lists(st.floats(0, 1)), st.lists(st.floats(0, 1)))
def test_what_is_added_can_be_taken_away(one: list[float], two: list[float]) -> None:
    left = histogram(one) + histogram(two) - histogram(two)
    assert left.counts == histogram(one).counts
    assert left.total == pytest.approx(sum(one))


def page(route: str = "/predict", *, seconds: list[float], bad: int = 0, nan: int = 0) -> str:
    """Metrics as a server shows them."""
    registry = CollectorRegistry()
    took = PrometheusHistogram(
        "modelyard_predict_seconds", "", ["route"], buckets=BOUNDS, registry=registry
    )
    scores = PrometheusHistogram("modelyard_prediction_scores", "", registry=registry)
    requests = Counter("modelyard_requests", "", ["route", "status"], registry=registry)
    refusals = Counter("modelyard_refusals", "", ["reason"], registry=registry)
    for value in seconds:
        took.labels(route).observe(value)
        scores.observe(0.25)
    requests.labels(route, "200").inc(len(seconds) - bad)
    requests.labels(route, "500").inc(bad)
    requests.labels("/health", "503").inc(99)
    refusals.labels("no-finite-answer").inc(nan)
    refusals.labels("malformed-json").inc(77)
    return generate_latest(registry).decode()


def test_a_metrics_page_is_read() -> None:
    counts = read_metrics(page(seconds=[0.005] * 8, bad=2, nan=3))
    assert (counts.requests, counts.failures, counts.not_finite) == (8, 2, 3)
    assert counts.seconds.quantile(0.5) == pytest.approx(0.0055)
    assert counts.scores.mean == 0.25


def test_a_server_without_scores_has_none() -> None:
    text = "\n".join(line for line in page(seconds=[0.1]).splitlines() if "scores" not in line)
    assert read_metrics(text + "\n").scores.mean is None


def test_what_is_no_metrics_page_is_refused() -> None:
    with pytest.raises(ValueError):
        read_metrics("<html>not here</html>")


def serving(requests: int, took: float = 0.005) -> ArmCounts:
    return read_metrics(page(seconds=[took] * requests))


def test_what_was_before_the_totals_does_not_count() -> None:
    totals = Totals()
    totals.add_champion({"10.0.0.1": serving(100)})
    assert totals.champion.requests == 0
    totals.add_champion({"10.0.0.1": serving(103)})
    assert totals.champion.requests == 3


def test_replicas_are_added_and_a_restart_loses_nothing() -> None:
    totals = Totals()
    totals.add_champion({"a": serving(5), "b": serving(9)})
    totals.add_champion({"a": serving(7), "b": serving(10)})
    totals.add_champion({"b": serving(2)})  # "a" is gone, "b" has started again
    assert totals.champion.requests == 2 + 1 + 2
    assert totals.champion.seconds.count == 5
    assert totals.champion.seconds.total == pytest.approx(5 * 0.005)


def test_scores_begin_anew_with_another_kind_of_model() -> None:
    totals = Totals()
    many, few = serving(50), serving(60)
    totals.add_challenger({"a": many})
    anew = ArmCounts(60, 0, 0, few.seconds, serving(4).scores)
    totals.add_challenger({"a": anew})
    assert totals.challenger.scores.count == 4
    assert totals.challenger.seconds.count == 10


def test_scores_begin_anew_with_other_buckets() -> None:
    totals = Totals()
    seconds = serving(1).seconds
    before = Histogram({0.5: 3, INFINITY: 5}, 3)
    totals.add_champion({"a": ArmCounts(5, 0, 0, seconds, before)})
    now = Histogram({-1.0: 2, 10.0: 6, INFINITY: 7}, 30)
    totals.add_champion({"a": ArmCounts(12, 0, 0, seconds, now)})
    assert totals.champion.scores == now


def classified(**rows: int) -> str:
    """The scores of a model of class probabilities, as a server shows them."""
    registry = CollectorRegistry()
    scores = PrometheusHistogram(
        "modelyard_prediction_scores", "", ["class"], buckets=(0.5, 1.0), registry=registry
    )
    for name, times in rows.items():
        for _ in range(times):
            scores.labels(name).observe(0.75)
    return generate_latest(registry).decode()


def test_rows_are_counted_by_their_likeliest_class() -> None:
    totals = Totals()
    totals.add_challenger({"a": read_metrics(classified(ant=5, bee=1))})
    totals.add_challenger({"a": read_metrics(classified(ant=7, bee=4))})
    assert totals.challenger.classes == {"ant": 2, "bee": 3}
    assert totals.challenger.scores.counts == {0.5: 0, 1.0: 5, INFINITY: 5}
    # another model has other classes
    totals.add_challenger({"a": read_metrics(classified(cat=20))})
    assert totals.challenger.classes == {"ant": 2, "bee": 3, "cat": 20}
    assert totals.challenger.scores.count == 5 + 20


def test_a_challenger_fails_where_the_gateway_got_no_answer() -> None:
    totals = Totals()
    totals.add_gateway_servers(
        {"arms/challenger1": ServerCounts(10, 10, 0, 0), "ready/s1": ServerCounts()}
    )
    # ten more: six answered, one whose client left, one under way; two got no answer
    now = {"arms/challenger1": ServerCounts(20, 16, 1, 1), "ready/s1": ServerCounts(50, 0)}
    totals.add_gateway_servers(now)
    assert totals.challenger.requests == 9
    assert totals.challenger.failures == 2
    assert totals.champion.requests == 0, "the champions say themselves what they did"


def test_a_gateway_that_started_again_counts_from_nought() -> None:
    totals = Totals()
    totals.add_gateway_servers({"challengers/challenger2": ServerCounts(100, 100)})
    totals.add_gateway_servers({"challengers/challenger2": ServerCounts(3, 1)})
    assert (totals.challenger.requests, totals.challenger.failures) == (3, 2)


def test_what_the_gateway_tallies_is_counted_over_a_restart_too() -> None:
    totals = Totals()
    for dropped, present, absent in ((7, 100, 50), (10, 105, 52), (4, 200, 1)):
        totals.add_gateway(GatewayCounts(dropped, present, absent))
    assert totals.gateway == GatewayCounts(3 + 4, 5 + 200, 2 + 1)
