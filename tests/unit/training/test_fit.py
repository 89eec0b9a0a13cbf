"""The fit loop: it keeps the best epoch, stops in time, and refuses losses that are no numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modelyard.errors import TrainingError
from modelyard.training.fit import LoopConfig, Tensors, fit_network, mean_loss


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight


def rows(n: int, slope: float) -> Tensors:
    x = torch.linspace(-1, 1, n)
    return Tensors({"x": x}, x * slope)


def fit(validation: Tensors, config: LoopConfig) -> tuple[Line, list[dict[str, float]]]:
    network, epochs = Line(), []
    fit_network(
        network, nn.MSELoss(), rows(1_000, 2.0), validation, config, 7,
        lambda _, metrics: epochs.append(dict(metrics)),
    )  # fmt: skip
    return network, epochs


def test_it_finds_the_slope():
    network, epochs = fit(
        rows(100, 2.0), LoopConfig(epochs=30, batch_rows=64, learning_rate=0.1, weight_decay=0)
    )
    assert float(network.weight.detach()) == pytest.approx(2.0, abs=0.01)
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]


def test_it_stops_early_and_keeps_the_weights_of_the_best_epoch():
    """Validation wants slope 1, training 2: validation is best somewhere on the way."""
    validation = rows(100, 1.0)
    network, epochs = fit(
        validation,
        LoopConfig(epochs=50, batch_rows=50, learning_rate=0.05, weight_decay=0, patience=2),
    )
    losses = [epoch["validation_loss"] for epoch in epochs]
    assert len(losses) < 50
    assert losses.index(min(losses)) == len(losses) - 1 - 2
    assert mean_loss(network, nn.MSELoss(), validation, 50) == pytest.approx(min(losses))


def test_a_loss_that_is_not_finite_stops_the_run():
    bad = rows(100, 2.0)
    bad.target[3] = float("nan")
    with pytest.raises(TrainingError, match="not a finite number"):
        fit(bad, LoopConfig(epochs=3))


def test_the_mean_over_batches_is_the_mean_over_rows():
    network, data = Line(), rows(1_003, 2.0)
    whole = float(nn.functional.mse_loss(network(**data.inputs), data.target).detach())
    assert mean_loss(network, nn.MSELoss(), data, 7) == pytest.approx(whole)
