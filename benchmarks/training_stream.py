"""`modelyard train` on 20 million rows that it never holds: seconds, and the most memory used.

    nice python benchmarks/training_stream.py [--rows 20000000] [--epochs 2] [--folder FOLDER]

Writes the example project's transactions to one Parquet file and trains on it as a stream, by the
command itself, from the check of the data to the registered version: in a process of its own whose
peak resident memory is measured, against an MLflow that is thrown away.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_BYTES = 2 * 10**9
PART_ROWS = 1_000_000
NAME = "transactions.parquet"


def write(path: Path, rows: int) -> None:
    """Write `rows` transactions to `path`, in shuffled order, with a DVC pointer beside it."""
    import numpy as np
    import polars as pl
    import pyarrow.parquet as pq

    from fraud_detector.dataset import generate, load
    from modelyard.provenance import md5_of

    writer = None
    part_path = path.with_suffix(".part")
    for part in range(-(-rows // PART_ROWS)):
        count = min(PART_ROWS, rows - part * PART_ROWS)
        generate(part_path, rows=count, seed=part)
        data = load(part_path).with_columns(pl.col("transaction_id") + part * PART_ROWS)
        table = data[np.random.default_rng(part).permutation(count)].to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=131_072)
    if writer:
        writer.close()
    part_path.unlink()
    pointer = f"outs:\n- md5: {md5_of(path)}\n  size: {path.stat().st_size}\n  hash: md5\n"
    Path(f"{path}.dvc").write_text(f"{pointer}  path: {NAME}\n", encoding="utf-8")


def train(folder: Path, epochs: int) -> dict[str, float]:
    """Train by the command; its seconds and its memory."""
    from modelyard.embedded.mlflow_server import start_mlflow
    from modelyard.embedded.processes import Processes

    command = [sys.executable, "-m", "modelyard.cli.main", "train", "--set", "stream={}"]
    command += ["--set", f"fit.epochs={epochs}", "--set", "fit.batch_rows=8192"]
    with tempfile.TemporaryDirectory() as scratch, Processes(Path(scratch) / "logs") as processes:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = start_mlflow(processes, port, f"sqlite:///{scratch}/m.db", f"{scratch}/artifacts")
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": url,
            "MODELYARD_DATA_DIR": str(folder),
            "TRAINING_STATE_DIR": f"{scratch}/state",
        }
        begin = time.perf_counter()
        subprocess.run(command, env=environment, stdout=sys.stderr, check=True)  # noqa: S603
        seconds = time.perf_counter() - begin
        # the training is the only child that has ended so far
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {"seconds": round(seconds, 1), "peak_rss_bytes": peak}


def main() -> int:
    """Run the benchmark; exit status 1 when the memory limit was passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the file here, and use the one there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / NAME).is_file():
            write(folder / NAME, arguments.rows)
        result = train(folder, arguments.epochs)
        size = (folder / NAME).stat().st_size
    sizes = {"rows": arguments.rows, "epochs": arguments.epochs, "parquet_bytes": size}
    machine = {"cpus": os.cpu_count(), "machine": platform.machine()}
    sys.stdout.write(json.dumps({**sizes, **result, **machine}, indent=1) + "\n")
    return int(result["peak_rss_bytes"] > LIMIT_BYTES)


if __name__ == "__main__":
    sys.exit(main())
