"""The distribution of the answers: every finite one is counted, none is kept."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest

from modelyard.contract import Output, OutputKind
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.web.scores import Scores
from unit.serving.conftest import Server


@pytest.fixture
def probable(server: Server) -> Snapshot:
    """A snapshot of a model of probabilities."""
    snapshot = server.holder.snapshot
    assert snapshot is not None
    output = Output(name="answer", kind=OutputKind.PROBABILITY)
    return replace(snapshot, contract=snapshot.contract.model_copy(update={"output": output}))


def counted(scores: Scores) -> tuple[dict[str, float], float]:
    """Each bucket's own number, where there is one, and the sum."""
    found, before, total = {}, 0.0, 0.0
    for sample in scores.family().samples:
        if sample.name.endswith("_bucket"):
            if sample.value > before:
                found[sample.labels["le"]] = sample.value - before
            before = sample.value
        if sample.name.endswith("_sum"):
            total = sample.value
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


def test_no_answer_is_kept_alive(probable: Snapshot):
    """An array of onnxruntime's holds the memory of the session that made it."""
    scores = Scores()
    answers = np.array([0.5, 0.6])
    alive = weakref.ref(answers)
    scores.add(probable, answers[:1])
    del answers
    assert alive() is None


def test_values_have_a_sum_and_classes_are_left_out(server: Server, probable: Snapshot):
    scores, snapshot = Scores(), server.holder.snapshot
    assert snapshot is not None
    scores.add(snapshot, np.array([1001.0, 1002.0]))
    assert counted(scores) == ({"+Inf": 2}, 2003)
    output = Output(name="answer", kind=OutputKind.CLASS_PROBABILITIES, classes=("a", "b"))
    classes = snapshot.contract.model_copy(update={"output": output})
    scores.add(replace(snapshot, contract=classes), np.array([[0.1, 0.9]]))
    assert counted(scores) == ({}, 0)
    scores.add(probable, np.array([0.5]))
    assert counted(scores) == ({"0.5": 1}, 0.5)
