"""Rows as tensors, whole on the device: a batch is one `index_select` a column.

A torch DataLoader collects batches row by row; benchmarks/training_batches.py compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor


class RowSource(Protocol):
    """Rows to pass over as often as needed, in chunks that fit on the device."""

    def __len__(self) -> int:
        """Rows in one pass."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same rows, their chunks on `device`."""
        ...

    def chunks(self, epoch: int = 0) -> Iterator[Tensors]:
        """One pass over all rows, in the same order for the same `epoch`."""
        ...


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

    def chunks(self, epoch: int = 0) -> Iterator[Tensors]:  # noqa: ARG002 - one chunk, one order
        """All rows at once."""
        yield self

    def rows(self, index: Tensor) -> Tensors:
        """The rows that `index` names, in its order."""
        return Tensors(
            {name: column.index_select(0, index) for name, column in self.inputs.items()},
            self.target.index_select(0, index),
        )
