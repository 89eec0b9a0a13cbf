"""A training pass over 20 million rows that never holds them: rows/s and the most memory used.

    nice python benchmarks/training_stream.py [--rows 20000000] [--folder FOLDER]

Writes the example project's transactions to Parquet in parts, then fits its network for one epoch
from the stream, in a process of its own whose peak resident memory is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_BYTES = 2 * 10**9
PART_ROWS = 1_000_000
VALIDATION_ROWS = 50_000


def write(folder: Path, rows: int) -> None:
    """Write `rows` transactions to `folder`, a file for each million, in shuffled order."""
    import numpy as np
    import polars as pl

    from fraud_detector.dataset import generate, load

    for part in range(-(-rows // PART_ROWS)):
        path = folder / f"part-{part:03}.parquet"
        count = min(PART_ROWS, rows - part * PART_ROWS)
        generate(path, rows=count, seed=part)
        data = load(path).with_columns(pl.col("transaction_id") + part * PART_ROWS)
        order = np.random.default_rng(part).permutation(count)
        data[order].write_parquet(path, row_group_size=131_072)


def fit(folder: Path) -> dict[str, float]:
    """Fit the example's network for one epoch from the stream."""
    import polars as pl
    import torch
    from torch import nn

    from fraud_detector.contract import CONTRACT, TARGET
    from fraud_detector.model import FitConfig, FraudNetwork, tensors
    from modelyard.training.fit import fit_network
    from modelyard.training.project import FitContext
    from modelyard.training.split import TRAIN, part_of
    from modelyard.training.stream import ParquetStream

    columns = ("transaction_id", *CONTRACT.names, TARGET)
    stream = ParquetStream(
        str(folder),
        tensors,
        columns=columns,
        keep=lambda frame: pl.Series(part_of(frame, "transaction_id") == TRAIN),
    )
    everything = ParquetStream(str(folder), tensors, columns=columns)
    begin = time.perf_counter()
    read = sum(map(len, everything.frames()))
    read_s = time.perf_counter() - begin
    first = next(everything.frames())[:VALIDATION_ROWS]
    torch.manual_seed(7)
    config = FitConfig(epochs=1, batch_rows=8192)
    begin = time.perf_counter()
    losses: list[float] = []
    context = FitContext(7, lambda _, metrics: losses.append(metrics["train_loss"]))
    network = FraudNetwork(config, 4.0, 1.0, 0.02)
    fit_network(network, nn.BCEWithLogitsLoss(), stream, tensors(first), config, context)
    return {
        "rows": read,
        "rows_read_per_s": round(read / read_s),
        "rows_fitted": len(stream),
        "rows_fitted_per_s": round(len(stream) / (time.perf_counter() - begin)),
        "train_loss": losses[-1],
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> int:
    """Run the benchmark; exit status 1 when the memory limit was passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--folder", type=Path, help="keep the files here, and use those there")
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fit:
        sys.stdout.write(json.dumps(fit(arguments.fit)) + "\n")
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not list(folder.glob("*.parquet")):
            write(folder, arguments.rows)
        size = sum(path.stat().st_size for path in folder.glob("*.parquet"))
        done = subprocess.run(  # noqa: S603 - this very file
            [sys.executable, __file__, "--fit", str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    result = json.loads(done.stdout) | {"parquet_bytes": size, "cpus": os.cpu_count()}
    result["machine"] = platform.machine()
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    return int(result["peak_rss_bytes"] > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main())
