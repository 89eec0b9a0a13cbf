"""The example model: it learns, it is one ONNX graph, and the same seed gives the same bytes."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from fraud_detector import PROJECT, dataset, model
from fraud_detector.contract import CONTRACT, MERCHANT_CATEGORIES
from modelyard.training.package.folder import check_parity
from modelyard.training.project import FitContext, Split

CONFIG = model.FitConfig(epochs=2, batch_rows=128, learning_rate=0.01, hidden=(16,), embedding=4)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    path = tmp_path_factory.mktemp("data") / "small.parquet"
    dataset.generate(path, rows=12_000)
    return dataset.split(dataset.load(path))


@pytest.fixture(scope="module")
def reported() -> list[tuple[int, set[str]]]:
    """Epoch and names of metrics, as the fit of `fitted` reports them."""
    return []


@pytest.fixture(scope="module")
def fitted(split: Split, reported: list[tuple[int, set[str]]]) -> model.FittedFraudModel:
    log = FitContext(7, lambda epoch, metrics: reported.append((epoch, set(metrics))))
    return model.fit(split, CONFIG, log)


@pytest.fixture(scope="module")
def graph(fitted: model.FittedFraudModel) -> onnx.ModelProto:
    return fitted.to_onnx()


def test_network_and_baseline_rank_far_better_than_chance(
    split: Split, fitted: model.FittedFraudModel
):
    columns, truth = PROJECT.columns(split.test), split.test["is_fraud"].to_numpy()
    assert roc_auc_score(truth, fitted.predict(columns)) > 0.75
    assert roc_auc_score(truth, model.fit_baseline(split.train, 7).predict(columns)) > 0.75


def test_predictions_are_probabilities_and_follow_the_process(fitted: model.FittedFraudModel):
    rows = pl.DataFrame(
        {
            "amount": [900.0, 12.0],
            "merchant_category": ["gift_cards", "groceries"],
            "hour": [3, 14],
        }
    )
    risky, harmless = fitted.predict(PROJECT.columns(rows))
    assert 0 < harmless < risky < 1


def test_the_graph_answers_as_the_fitted_model_does(
    split: Split, fitted: model.FittedFraudModel, graph: onnx.ModelProto
):
    columns = PROJECT.columns(split.test)
    assert check_parity(graph, CONTRACT, columns, fitted.predict(columns)) < 1e-6


def test_every_category_and_hour_goes_through_the_graph_one_row_at_a_time(
    fitted: model.FittedFraudModel, graph: onnx.ModelProto
):
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for category in MERCHANT_CATEGORIES:
        for hour in (0, 23):
            columns = {
                "amount": np.array([10.0]),
                "merchant_category": np.array([category], dtype=object),
                "hour": np.array([hour]),
            }
            (answer,) = session.run(["probability"], columns)[0]
            assert answer == pytest.approx(fitted.predict(columns)[0], abs=1e-6)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(
    split: Split, graph: onnx.ModelProto
):
    again = model.fit(split, CONFIG, FitContext(seed=7))
    other = model.fit(split, CONFIG, FitContext(seed=8))
    assert again.to_onnx().SerializeToString() == graph.SerializeToString()
    assert other.to_onnx().SerializeToString() != graph.SerializeToString()


def test_each_epoch_is_reported(
    fitted: model.FittedFraudModel, reported: list[tuple[int, set[str]]]
):
    assert [epoch for epoch, _ in reported] == [1, 2]
    assert reported[0][1] == {"train_loss", "validation_loss", "learning_rate"}
