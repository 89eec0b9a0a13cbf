"""Measurements of 40 machines in 2025; the newest are what the model is judged by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from machine_state.contract import CONTRACT, SITES
from modelyard.training.data.split import by_time
from modelyard.training.project import Split

ROWS = 4_000
FIRST_VALIDATED = datetime(2025, 8, 13, tzinfo=UTC)
FIRST_TESTED = datetime(2025, 10, 22, tzinfo=UTC)


def generate(path: Path) -> None:
    """Write the measurements to `path`: the same bytes each time."""
    random = np.random.default_rng(11)
    temperature = np.round(random.normal(70, 15, ROWS), 1).clip(-40, 200)
    vibration = np.round(random.gamma(2, 1.5, ROWS), 2)
    starts = random.poisson(10, ROWS)
    strain = temperature / 15 + vibration + starts / 5 + random.normal(0, 0.7, ROWS)
    state = np.array(CONTRACT.output.classes)[np.digitize(strain, [9.5, 12])]
    pl.DataFrame(
        {
            "machine": random.permutation(np.arange(ROWS) % 40),
            "at": pl.datetime_range(
                datetime(2025, 1, 1, tzinfo=UTC),
                datetime(2025, 12, 31, tzinfo=UTC),
                eager=True,
                interval="131m",
            ).head(ROWS),
            "temperature": temperature,
            "vibration": vibration,
            "starts": starts,
            "indoors": random.random(ROWS) < 0.5,
            "site": np.array(SITES)[random.integers(0, 2, ROWS)],
            "state": state,
        }
    ).write_parquet(path)


def load(path: Path) -> pl.DataFrame:
    """The measurements at `path`."""
    return pl.read_parquet(path)


def split(data: pl.DataFrame) -> Split:
    """The last ten weeks to judge by, the ten weeks before to stop by."""
    return by_time(data, "at", FIRST_VALIDATED, FIRST_TESTED)
