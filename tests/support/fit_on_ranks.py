"""One fit, alone or under torchrun; rank 0 prints its curve and its weights as JSON."""

from __future__ import annotations

import json
import sys

import torch
from torch import nn

from modelyard.training.fit.loop import LoopConfig, fit_network
from modelyard.training.fit.ranks import joined_ranks
from modelyard.training.project import FitContext
from modelyard.training.tensors import Tensors


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.SiLU(), nn.Linear(8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).squeeze(1)


def rows(n: int) -> Tensors:
    x = torch.linspace(-1, 1, 2 * n).reshape(n, 2)
    return Tensors({"x": x}, x[:, 0] * 2 + x[:, 1] ** 2)


with joined_ranks() as ranks:
    torch.manual_seed(7)
    network, epochs = Network(), []
    fit_network(
        network,
        nn.MSELoss(),
        rows(257),  # batches of 64 leave one row, which two ranks cannot share
        rows(33),
        LoopConfig(epochs=5, batch_rows=64, learning_rate=0.02),
        FitContext(7, lambda _, metrics: epochs.append(dict(metrics))),
    )
    if ranks.index == 0:
        weights = [value.flatten().tolist() for value in network.state_dict().values()]
        result = {"ranks": ranks.count, "epochs": epochs, "weights": weights}
        sys.stdout.write(json.dumps(result) + "\n")
