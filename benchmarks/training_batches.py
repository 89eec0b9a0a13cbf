"""Batches cut on the device against a Python DataLoader: rows/s, alone and with training.

    nice python benchmarks/training_batches.py [--rows 200000] [--batch-rows 2048]

The same rows, network, optimiser and batch size in each line; the best of three passes. On a
machine with a GPU each line runs there, training in float32 and in bfloat16.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from fraud_detector.dataset import generate, load
from fraud_detector.model import FitConfig, FraudNetwork, Scale, tensors
from modelyard.training.tensors import Tensors

PASSES = 3
Batches = Callable[[], Iterator[list[Tensor]]]


def on_device(rows: Tensors, batch_rows: int, device: torch.device) -> Batches:
    """What modelyard's fit loop does."""
    rows = rows.to(device)

    def batches() -> Iterator[list[Tensor]]:
        for index in torch.randperm(len(rows)).to(device).split(batch_rows):
            batch = rows.rows(index)
            yield [*batch.inputs.values(), batch.target]

    return batches


def loader(rows: Tensors, batch_rows: int, device: torch.device, workers: int) -> Batches:
    """What tutorials do: a map-style dataset, row by row, collated."""
    dataset: Dataset[tuple[Tensor, ...]] = TensorDataset(*rows.inputs.values(), rows.target)
    made = DataLoader(
        dataset, batch_size=batch_rows, shuffle=True, num_workers=workers,
        persistent_workers=workers > 0, pin_memory=device.type == "cuda",
    )  # fmt: skip

    def batches() -> Iterator[list[Tensor]]:
        for batch in made:
            yield [column.to(device, non_blocking=True) for column in batch]

    return batches


def train(batches: Batches, device: torch.device, *, low: bool) -> None:
    """One epoch of the example's network."""
    network = FraudNetwork(FitConfig(), Scale(4.0, 1.0, 0.02)).to(device)
    optimizer = torch.optim.AdamW(network.parameters())
    loss = nn.BCEWithLogitsLoss()
    for amount, category, hour, target in batches():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            value = loss(network(amount, category, hour), target)
        value.backward()
        optimizer.step()


def rows_per_s(run: Callable[[], object], rows: int, device: torch.device) -> float:
    """Rows a second in the best of a few passes."""

    def once() -> float:
        begin = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    return rows / min(once() for _ in range(PASSES))


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--batch-rows", type=int, default=2048)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder) / "rows.parquet", rows=arguments.rows)
        rows = tensors(load(Path(folder) / "rows.parquet"))
    sources = {
        "on the device": on_device(rows, arguments.batch_rows, device),
        "DataLoader": loader(rows, arguments.batch_rows, device, 0),
        "DataLoader, 2 workers": loader(rows, arguments.batch_rows, device, 2),
    }
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU x {os.cpu_count()}"
    say = sys.stdout.write
    say(f"{name}, torch {torch.__version__}, {torch.get_num_threads()} threads, ")
    say(f"{arguments.rows:,} rows in batches of {arguments.batch_rows:,}\n")
    for low in (False, True) if device.type == "cuda" else (False,):
        for title, batches in sources.items():
            alone = rows_per_s(lambda b=batches: [None for _ in b()], arguments.rows, device)
            fitted = rows_per_s(partial(train, batches, device, low=low), arguments.rows, device)
            say(f"{title:22}{'bfloat16' if low else 'float32':10}")
            say(f"batches alone {alone:12,.0f} rows/s   training {fitted:12,.0f} rows/s\n")
    if device.type == "cuda":
        say(f"most GPU memory: {torch.cuda.max_memory_allocated() / 2**20:,.0f} MiB\n")


if __name__ == "__main__":
    main()
