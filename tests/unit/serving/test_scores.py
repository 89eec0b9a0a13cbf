"""The distribution of the answers: every finite one is counted, none is kept."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from modelyard.contract import Output, OutputKind
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.model.tenure import Tenure
from modelyard.serving.web.scores import Scores
from modelyard.traffic.scrape import read_metrics
from support.serving_app import Server


def snapshot_of(server: Server, **output: object) -> Snapshot:
    """What `server` serves, as if its answers meant `output`."""
    snapshot = server.holder.snapshot
    assert snapshot is not None
    changed = {"output": Output.model_validate({"name": "answer", **output})}
    contract = snapshot.contract.model_copy(update=changed)
    return replace(snapshot, contract=contract, tenure=Tenure())


@pytest.fixture
def probable(server: Server) -> Snapshot:
    """A snapshot of a model of probabilities."""
    return snapshot_of(server, kind=OutputKind.PROBABILITY)


def counted(scores: Scores, label: str | None = None) -> tuple[dict[str, float], float]:
    """Each bucket's own number, where there is one, and the sum, of the class `label`."""
    found, before, total = {}, 0.0, 0.0
    for sample in scores.family().samples:
        if sample.labels.get("class") != label:
            continue
        if sample.name.endswith("_bucket"):
            if sample.value > before:
                found[sample.labels["le"]] = sample.value - before
            before = sample.value
        if sample.name.endswith("_sum"):
            total = sample.value
        if sample.name.endswith("_count"):
            assert sample.value == before
    return found, total


def test_every_finite_answer_is_counted_in_its_bucket(probable: Snapshot):
    scores = Scores()
    scores.add(probable, np.array([0.05, 0.051, np.nan, 1.0, np.inf]))
    scores.add(probable, np.full(3000, 0.5, np.float32))
    scores.add(probable, np.full(3000, 0.25))
    scores.add(probable, np.full(10_000, 0.75))
    buckets, total = counted(scores)
    assert buckets == {"0.05": 1, "0.1": 1, "0.25": 3000, "0.5": 3000, "0.75": 10_000, "1.0": 1}
    assert total == pytest.approx(1.101 + 1500 + 750 + 7500)
    assert counted(scores) == (buckets, total)


def test_no_answer_is_kept_alive(server: Server, probable: Snapshot):
    """An array of onnxruntime's holds the memory of the session that made it."""
    scores = Scores()
    answers = np.array([0.5, 0.6])
    alive = weakref.ref(answers)
    scores.add(probable, answers[:1])
    del answers
    assert alive() is None
    classes = snapshot_of(server, kind="class_probabilities", classes=("a", "b"))
    likely = np.array([[0.5, 0.5], [0.4, 0.6]])
    alive = weakref.ref(likely)
    scores.add(classes, likely[:1])
    del likely
    assert alive() is None


def test_values_of_every_size_and_sign_have_buckets(server: Server):
    scores, values = Scores(), snapshot_of(server, kind=OutputKind.VALUE)
    scores.add(values, np.array([1001.0, 1002.0, -3.0, 0.0, 1e-9, np.nan]))
    scores.add(values, np.array([2e9, -2e9, 1000.0]))
    buckets, total = counted(scores)
    assert buckets == {
        "-1000000000.0": 1,
        "-2.5": 1,
        "0.0": 1,
        "0.001": 1,
        "1000.0": 1,
        "1600.0": 2,
        "+Inf": 1,
    }
    assert total == pytest.approx(3000)


def test_of_class_probabilities_the_highest_is_counted_by_its_class(server: Server):
    classes = snapshot_of(server, kind="class_probabilities", classes=("ant", "bee", "cat"))
    scores = Scores()
    scores.add(classes, np.array([[0.1, 0.62, 0.28]], np.float32))
    scores.add(classes, np.array([[0.1, 0.8, 0.1], [0.96, 0.02, 0.02], [np.nan, 0.5, 0.5]]))
    for _ in range(3):
        scores.add(classes, np.tile([0.2, 0.3, 0.5], (1000, 1)))  # more than one pile
    scores.add(classes, np.tile([0.2, 0.3, 0.5], (10_000, 1)))
    assert counted(scores, "ant") == ({"1.0": 1}, 0.96)
    assert counted(scores, "bee") == ({"0.65": 1, "0.8": 1}, pytest.approx(1.42))
    assert counted(scores, "cat") == ({"0.5": 13_000}, pytest.approx(6500))
    assert counted(scores) == ({}, 0)


def test_a_hundred_classes_are_not_told_apart(server: Server):
    names = tuple(f"c{number}" for number in range(100))
    scores = Scores()
    rows = np.full((50, 100), 0.005)
    rows[np.arange(50), np.arange(50)] = 0.505
    scores.add(snapshot_of(server, kind="class_probabilities", classes=names), rows)
    assert counted(scores) == ({"0.55": 50}, pytest.approx(50 * 0.505))


def test_another_kind_of_answers_begins_anew_and_another_version_goes_on(
    server: Server, probable: Snapshot
):
    scores = Scores()
    scores.add(snapshot_of(server, kind=OutputKind.VALUE), np.array([1001.0]))
    scores.add(probable, np.array([0.5]))
    scores.add(snapshot_of(server, kind=OutputKind.PROBABILITY), np.array([0.5]))
    assert counted(scores) == ({"0.5": 2}, 1)
    one = snapshot_of(server, kind="class_probabilities", classes=("a", "b"))
    scores.add(one, np.array([[0.1, 0.9]]))
    assert counted(scores, "b") == ({"0.9": 1}, 0.9)
    other = snapshot_of(server, kind="class_probabilities", classes=("x", "y"))
    scores.add(other, np.array([[0.9, 0.1]]))
    assert counted(scores, "x") == ({"0.9": 1}, 0.9)
    assert counted(scores, "b") == ({}, 0)


def test_the_quantiles_of_values_can_be_read_from_the_page(server: Server):
    """The service `traffic` reads what a server shows."""
    scores = Scores()
    values = np.random.default_rng(7).normal(250, 400, 20_000)
    scores.add(snapshot_of(server, kind=OutputKind.VALUE), values)
    registry = CollectorRegistry()
    registry.register(_Collected(scores))
    read = read_metrics(generate_latest(registry).decode()).scores
    assert read.mean == pytest.approx(values.mean())
    for q in (0.1, 0.5, 0.9):
        exact = float(np.quantile(values, q))
        assert read.quantile(q) == pytest.approx(exact, rel=0.1)


class _Collected(Collector):
    def __init__(self, scores: Scores) -> None:
        self._scores = scores

    def collect(self) -> Iterator[Metric]:
        yield self._scores.family()
