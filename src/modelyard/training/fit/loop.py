"""The fit loop for torch networks: an epoch from its first batch to its checkpoint.

It uses a GPU where there is one, several processes under torchrun, and resumes from a checkpoint.
On a CPU a resumed fit ends with the same weights as one that was never interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from modelyard.config import Frozen
from modelyard.errors import TrainingError
from modelyard.training.fit.ranks import Ranks, current_ranks
from modelyard.training.project import FitContext
from modelyard.training.tensors import RowSource


class DivergedError(TrainingError):
    """The loss is no longer a finite number; a resumed fit would end in the same place."""


class LoopConfig(Frozen):
    """How long and how fast a network learns."""

    epochs: int = Field(20, ge=1)
    batch_rows: int = Field(2048, ge=1)
    learning_rate: float = Field(3e-3, gt=0, description="The highest one; `schedule` changes it.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="How the learning rate falls after the warm-up: to 0, or not at all."
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="Share of the fit in which it rises from 0.")
    weight_decay: float = Field(1e-4, ge=0)
    patience: int = Field(4, ge=1, description="Epochs without a better validation loss.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Of the arithmetic in training; auto: bfloat16 on a GPU, else float32."
    )


@dataclass
class _Progress:
    """Where a fit stands, beside its weights."""

    epoch: int = 0
    since_best: int = 0
    best_loss: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)


def fit_network(
    network: nn.Module,
    loss: nn.Module,
    train: RowSource,
    validation: RowSource,
    config: LoopConfig,
    context: FitContext,
) -> None:
    """Fit `network` in place and leave it on the CPU with the weights of its best epoch.

    Args:
        network: called with the inputs by name; returns what `loss` takes beside the target.
        loss: mean loss over a batch.
        train: `Tensors`, or a stream of them; an epoch number gives a stream its order.
        context: seeds the shuffle (the caller seeds torch before it builds the network), gets
            `train_loss`, `validation_loss`, `learning_rate` after each epoch, keeps checkpoints.

    Raises:
        DivergedError: a loss was not finite.
        TrainingError: the checkpoint belongs to another network.
    """
    ranks = current_ranks()
    network.to(ranks.device)
    train, validation = train.to(ranks.device), validation.to(ranks.device)
    shuffle = torch.Generator().manual_seed(context.seed)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    progress = _resume(network, optimizer, shuffle, ranks, context)
    shared = ranks.wrap(network)
    while progress.epoch < config.epochs and progress.since_best < config.patience:
        epoch = progress.epoch + 1
        train_loss = _train_epoch(
            shared, loss, train, config, optimizer, shuffle, ranks, context, epoch
        )
        validation_loss = mean_loss(network, loss, validation, config.batch_rows, ranks)
        if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
            raise DivergedError(
                f"The loss of epoch {epoch} is not a finite number "
                f"(train {train_loss}, validation {validation_loss}).",
                fix="Nothing was registered. Lower fit.learning_rate, or look for extreme values "
                "in the data.",
            )
        if validation_loss < progress.best_loss:
            progress.best_loss, progress.since_best = validation_loss, 0
            progress.best_weights = _weights(network)
        else:
            progress.since_best += 1
        metrics = {
            "train_loss": train_loss,
            "validation_loss": validation_loss,
            "learning_rate": float(optimizer.param_groups[0]["lr"]),
        }
        progress.epoch = epoch
        progress.history.append(metrics)
        # saved before it is reported: an epoch that was shown is never repeated
        if ranks.index == 0 and context.checkpoints is not None:
            context.checkpoints.save(_state(progress, network, optimizer, shuffle))
        context.report(epoch, metrics)
    network.load_state_dict(progress.best_weights)
    network.cpu().eval()


def _train_epoch(
    network: nn.Module,
    loss: nn.Module,
    train: RowSource,
    config: LoopConfig,
    optimizer: torch.optim.Optimizer,
    shuffle: torch.Generator,
    ranks: Ranks,
    context: FitContext,
    epoch: int,
) -> float:
    """Pass over all rows once; returns their mean loss, each at the time it was seen."""
    network.train()
    device = ranks.device
    low = config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda")
    total, seen, rows = torch.zeros((), device=device), 0, len(train)
    for chunk in train.chunks(epoch):
        order = torch.randperm(len(chunk), generator=shuffle).to(device)
        for index in order.split(config.batch_rows):
            share = (epoch - 1 + seen / rows) / config.epochs
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, share)
            own, weight = ranks.share(index)
            batch = chunk.rows(own)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                value = loss(network(**batch.inputs), batch.target)
            (value * weight).backward()
            optimizer.step()
            total += value.detach().float() * (weight * len(index) / ranks.count)
            seen += len(index)
            context.progress((epoch - 1 + seen / rows) / config.epochs)
    return ranks.total(total) / rows


def learning_rate(config: LoopConfig, share: float) -> float:
    """The learning rate when `share` (0 to 1) of the longest possible fit is done."""
    if share < config.warmup:
        return config.learning_rate * share / config.warmup
    left = 1 - (share - config.warmup) / (1 - config.warmup)
    match config.schedule:
        case "cosine":
            return config.learning_rate * (1 - math.cos(math.pi * left)) / 2
        case "linear":
            return config.learning_rate * left
        case "constant":
            return config.learning_rate


def mean_loss(
    network: nn.Module,
    loss: nn.Module,
    rows: RowSource,
    batch_rows: int,
    ranks: Ranks | None = None,
) -> float:
    """Mean loss over all of `rows`, the network in evaluation mode and in float32."""
    ranks = ranks or Ranks()
    network.eval()
    total = torch.zeros((), device=next(network.parameters()).device)
    with torch.inference_mode():
        for chunk in rows.chunks():
            whole = torch.arange(len(chunk), device=chunk.target.device)
            for index in whole.split(batch_rows * 8):
                own, weight = ranks.share(index)
                batch = chunk.rows(own)
                value = loss(network(**batch.inputs), batch.target)
                total += value * (weight * len(index) / ranks.count)
    return ranks.total(total) / len(rows)


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def _state(
    progress: _Progress,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    shuffle: torch.Generator,
) -> dict[str, Any]:
    """All that the next epoch depends on."""
    return {
        "progress": vars(progress),
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "shuffle": shuffle.get_state(),
        "random": torch.get_rng_state(),
        "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _resume(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    shuffle: torch.Generator,
    ranks: Ranks,
    context: FitContext,
) -> _Progress:
    """Go back to the checkpoint if there is one, and report its epochs as they were."""
    found: Mapping[str, Any] | None = None
    if ranks.index == 0 and context.checkpoints is not None:
        found = context.checkpoints.load()
    found = ranks.agree(found)
    if found is None:
        return _Progress(best_weights=_weights(network))
    try:
        network.load_state_dict(found["network"])
        optimizer.load_state_dict(found["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(
            "The checkpoint belongs to another network than the one to fit.",
            fix="Train without --resume.",
        ) from error
    shuffle.set_state(found["shuffle"])
    torch.set_rng_state(found["random"])
    if torch.cuda.is_available() and len(found["cuda_random"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(found["cuda_random"])
    progress = _Progress(**found["progress"])
    for epoch, metrics in enumerate(progress.history, start=1):
        context.report(epoch, metrics)
    return progress
