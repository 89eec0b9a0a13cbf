"""One process, or several that fit one network together (torchrun).

Each rank holds all rows and works on its share of every batch. Sums are taken over all ranks, so
several ranks see the same batches and losses, and stop at the same epoch, as one rank would.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Ranks:
    """Which process this is, and of how many; only rank 0 reports, saves and registers."""

    index: int = 0
    count: int = 1

    @property
    def device(self) -> torch.device:
        """The CUDA device of this rank where there is one, else the CPU."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self.index % torch.cuda.device_count())

    def wrap(self, network: nn.Module) -> nn.Module:
        """`network` with its gradients averaged over all ranks."""
        return network if self.count == 1 else DistributedDataParallel(network)

    def share(self, rows: Tensor) -> tuple[Tensor, float]:
        """Own rows of a batch, and the weight that makes the mean over ranks the batch's.

        Args:
            rows: indices of the whole batch, int64 [n].
        """
        if self.count == 1:
            return rows, 1.0
        own = rows[self.index :: self.count]
        if not len(own):  # every rank must exchange gradients: this one's weigh nothing
            return rows[:1], 0.0
        return own, len(own) * self.count / len(rows)

    def total(self, value: Tensor) -> float:
        """The sum of `value` (one number) over all ranks, the same everywhere."""
        if self.count > 1:
            distributed.all_reduce(value)
        return float(value)

    def agree(self, value: Any) -> Any:
        """The `value` of rank 0, everywhere."""
        if self.count == 1:
            return value
        holder = [value if self.index == 0 else None]
        distributed.broadcast_object_list(holder, src=0)
        return holder[0]


def current_ranks() -> Ranks:
    """The rank of this process among those that `joined_ranks` joined; else it is alone."""
    if distributed.is_available() and distributed.is_initialized():
        return Ranks(distributed.get_rank(), distributed.get_world_size())
    return Ranks()


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun started; without torchrun there is one."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield Ranks()
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        ranks = current_ranks()
        if torch.cuda.is_available():
            torch.cuda.set_device(ranks.device)
        yield ranks
    finally:
        distributed.destroy_process_group()
