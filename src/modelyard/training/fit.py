"""The fit loop for torch networks: data on the device, batches cut there, the best epoch kept.

A Python DataLoader hands over row by row; here an epoch is one shuffled index on the device and a
batch is one `index_select` a column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn

from modelyard.config import Frozen
from modelyard.errors import TrainingError
from modelyard.training.project import EpochLog


class LoopConfig(Frozen):
    """How long and how fast a network learns."""

    epochs: int = Field(20, ge=1)
    batch_rows: int = Field(2048, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    weight_decay: float = Field(1e-4, ge=0)
    patience: int = Field(4, ge=1, description="Epochs without a better validation loss.")


@dataclass(frozen=True)
class Tensors:
    """Rows as tensors: feature name → [n] or [n, k], and the target [n]."""

    inputs: Mapping[str, Tensor]
    target: Tensor

    def __len__(self) -> int:
        return len(self.target)

    def to(self, device: torch.device) -> Tensors:
        """The same rows on `device`."""
        return Tensors({k: v.to(device) for k, v in self.inputs.items()}, self.target.to(device))

    def rows(self, index: Tensor) -> Tensors:
        """The rows that `index` names, in its order."""
        return Tensors(
            {name: column.index_select(0, index) for name, column in self.inputs.items()},
            self.target.index_select(0, index),
        )


def pick_device() -> torch.device:
    """The first CUDA device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit_network(
    network: nn.Module,
    loss: nn.Module,
    train: Tensors,
    validation: Tensors,
    config: LoopConfig,
    seed: int,
    report: EpochLog,
) -> None:
    """Fit `network` in place and leave it on the CPU with the weights of its best epoch.

    Args:
        network: called with the inputs by name; returns what `loss` takes beside the target.
        loss: mean loss over a batch.
        seed: seeds the shuffle; the caller seeds torch before it builds the network.
        report: gets `train_loss`, `validation_loss`, `learning_rate` after each epoch.

    Raises:
        TrainingError: a loss was not finite.
    """
    device = pick_device()
    network.to(device)
    train, validation = train.to(device), validation.to(device)
    shuffle = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    steps = config.epochs * math.ceil(len(train) / config.batch_rows)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    best_loss, best_weights, since_best = math.inf, _weights(network), 0
    for epoch in range(1, config.epochs + 1):
        network.train()
        order = torch.randperm(len(train), generator=shuffle).to(device)
        total = torch.zeros((), device=device)
        for index in order.split(config.batch_rows):
            batch = train.rows(index)
            optimizer.zero_grad(set_to_none=True)
            value = loss(network(**batch.inputs), batch.target)
            value.backward()
            optimizer.step()
            schedule.step()
            total += value.detach() * len(index)
        train_loss = float(total) / len(train)
        validation_loss = mean_loss(network, loss, validation, config.batch_rows)
        if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
            raise TrainingError(
                f"The loss of epoch {epoch} is not a finite number "
                f"(train {train_loss}, validation {validation_loss}).",
                fix="Lower fit.learning_rate, or look for extreme values in the data.",
            )
        rate = float(optimizer.param_groups[0]["lr"])
        report(
            epoch,
            {"train_loss": train_loss, "validation_loss": validation_loss, "learning_rate": rate},
        )
        if validation_loss < best_loss:
            best_loss, best_weights, since_best = validation_loss, _weights(network), 0
        else:
            since_best += 1
            if since_best >= config.patience:
                break
    network.load_state_dict(best_weights)
    network.cpu().eval()


def mean_loss(network: nn.Module, loss: nn.Module, rows: Tensors, batch_rows: int) -> float:
    """Mean loss over all of `rows`, the network in evaluation mode."""
    network.eval()
    device = rows.target.device
    total = torch.zeros((), device=device)
    with torch.inference_mode():
        for index in torch.arange(len(rows), device=device).split(batch_rows * 8):
            batch = rows.rows(index)
            total += loss(network(**batch.inputs), batch.target) * len(index)
    return float(total) / len(rows)


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
