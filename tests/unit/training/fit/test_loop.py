"""The fit loop: it keeps the best epoch, stops in time, and refuses losses that are no numbers."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from modelyard.errors import TrainingError
from modelyard.training.fit.loop import LoopConfig, fit_network, learning_rate, mean_loss
from modelyard.training.project import FitContext
from modelyard.training.tensors import Tensors


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
        network, nn.MSELoss(), rows(1_000, 2.0), validation, config,
        FitContext(7, lambda _, metrics: epochs.append(dict(metrics))),
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


@pytest.mark.parametrize(
    ("schedule", "warmup", "rates"),
    [
        ("constant", 0.0, {0.0: 1, 0.5: 1, 1.0: 1}),
        ("linear", 0.0, {0.0: 1, 0.5: 0.5, 1.0: 0}),
        ("cosine", 0.0, {0.0: 1, 0.5: 0.5, 1.0: 0}),
        ("cosine", 0.2, {0.0: 0, 0.1: 0.5, 0.2: 1, 0.6: 0.5, 1.0: 0}),
    ],
)
def test_the_learning_rate_follows_its_schedule(
    schedule: str, warmup: float, rates: dict[float, float]
):
    config = LoopConfig(learning_rate=1, schedule=schedule, warmup=warmup)
    found = {share: learning_rate(config, share) for share in rates}
    assert found == pytest.approx(rates, abs=1e-12)


def test_progress_rises_to_one():
    shares: list[float] = []
    context = FitContext(7, progress=shares.append)
    fit_network(
        Line(), nn.MSELoss(), rows(100, 2.0), rows(10, 2.0),
        LoopConfig(epochs=2, batch_rows=50), context,
    )  # fmt: skip
    assert shares == pytest.approx([0.25, 0.5, 0.75, 1.0])


def test_bfloat16_learns_the_same_line_within_its_precision():
    config = LoopConfig(
        epochs=30, batch_rows=64, learning_rate=0.1, weight_decay=0, precision="bfloat16"
    )
    network, _ = fit(rows(100, 2.0), config)
    assert network.weight.dtype == torch.float32
    assert float(network.weight.detach()) == pytest.approx(2.0, abs=0.05)


class Killed(BaseException):
    """What kill -9 would do, from inside."""


class Memory:
    """Checkpoints in memory; dies when it has saved `deadly` of them."""

    def __init__(self, deadly: int) -> None:
        self.saved: bytes | None = None
        self.count, self.deadly = 0, deadly

    def load(self):
        return None if self.saved is None else torch.load(io.BytesIO(self.saved))

    def save(self, state) -> None:
        target = io.BytesIO()
        torch.save(dict(state), target)
        self.saved, self.count = target.getvalue(), self.count + 1
        if self.count == self.deadly:
            raise Killed


def deep() -> nn.Module:
    """With dropout: its random numbers have to go on where they were, too."""
    torch.manual_seed(7)
    return Deep()


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.3), nn.SiLU(), nn.Linear(8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.unsqueeze(1)).squeeze(1)


@pytest.mark.parametrize("deadly", [1, 3, 6])
def test_an_interrupted_fit_ends_with_the_very_weights_of_an_uninterrupted_one(deadly: int):
    config = LoopConfig(epochs=6, batch_rows=32, learning_rate=0.05, patience=6)

    def run(network: nn.Module, checkpoints: Memory | None) -> list[dict[str, float]]:
        epochs: list[dict[str, float]] = []
        context = FitContext(
            7, lambda _, metrics: epochs.append(dict(metrics)), checkpoints=checkpoints
        )
        fit_network(network, nn.MSELoss(), rows(200, 2.0), rows(50, 2.0), config, context)
        return epochs

    whole = deep()
    expected = run(whole, None)
    checkpoints = Memory(deadly)
    with pytest.raises(Killed):
        run(deep(), checkpoints)
    checkpoints.deadly = 0
    resumed = deep()
    assert run(resumed, checkpoints) == expected
    assert checkpoints.count == 6  # no epoch was done twice
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)


def test_a_checkpoint_of_another_network_is_refused():
    checkpoints = Memory(deadly=1)
    context = FitContext(checkpoints=checkpoints)
    config, data = LoopConfig(epochs=2), rows(50, 2.0)
    with pytest.raises(Killed):
        fit_network(deep(), nn.MSELoss(), data, data, config, context)
    with pytest.raises(TrainingError, match="another network"):
        fit_network(Line(), nn.MSELoss(), data, data, config, context)
