"""Keys that rows share, found without holding them: 128-bit hashes in buckets on disk.

A bucket is small enough to be sorted in memory, and equal keys are in the same one. Among a billion
rows, the chance that two keys have the same hash is one in 10^20.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from os import SEEK_END
from pathlib import Path
from typing import IO, Self

import numpy as np
import polars as pl
import polars.selectors as cs

_BUCKET_ROWS = 1_000_000
_MOST_BUCKETS = 200  # open files, of which a process may have 1,024 as a rule
_PART_BITS = np.uint64(3)


class KeyHashes:
    """Hashes of the keys of rows, and in which part (0 to 3) of a split each row is.

    The files have no names: however the process ends, their disk space is freed.

    Args:
        folder: takes 16 bytes a row while this is open; the system's own when None.
        rows: roughly how many there will be.
    """

    def __init__(self, folder: Path | None, key: Sequence[str], rows: int) -> None:
        self._key = list(key)
        count = min(-(-max(rows, 1) // _BUCKET_ROWS), _MOST_BUCKETS)
        with ExitStack() as opened:
            self._buckets = [
                opened.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(count)
            ]
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def add(self, rows: pl.DataFrame, part: int = 0) -> None:
        """Add the keys of `rows`, which are in `part`."""
        first, second = (hash_keys(rows, self._key, seed) for seed in (1, 2))
        pairs = np.column_stack([first, (second & ~_PART_BITS) | np.uint64(part)])
        chosen = (first >> np.uint64(32)) % np.uint64(len(self._buckets))
        for index, bucket in enumerate(self._buckets):
            bucket.write(np.ascontiguousarray(pairs[chosen == index]).tobytes())

    def duplicates(self) -> int:
        """How many rows have a key that another row has."""
        return sum(int(sizes[sizes > 1].sum()) for sizes, _ in map(_groups, self._buckets))

    def leaks(self, pairs: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], int]:
        """For each (later, earlier): how many rows of `later` have a key that is in `earlier`."""
        found = dict.fromkeys(pairs, 0)
        for bucket in self._buckets:
            _, counts = _groups(bucket)
            for later, earlier in pairs:
                found[later, earlier] += int(counts[counts[:, earlier] > 0, later].sum())
        return found


def hash_keys(rows: pl.DataFrame, key: Sequence[str], seed: int) -> np.ndarray:
    """A hash of the columns `key`, or of all columns when it is empty, uint64 [n].

    Equal values have equal hashes whatever the width of their integers, with one version of polars.
    """
    chosen = rows.select(key) if key else rows
    alike = chosen.with_columns(
        (cs.integer() - cs.by_dtype(pl.UInt64)).cast(pl.Int64),
        cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String),
    )
    hashed: np.ndarray = alike.hash_rows(seed).to_numpy()
    return hashed


def _groups(bucket: IO[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """How many rows each key in the bucket has [k], and how many in each part [k, 4]."""
    bucket.seek(0)
    pairs = np.frombuffer(bucket.read(), dtype=np.uint64).reshape(-1, 2)
    bucket.seek(0, SEEK_END)
    if not len(pairs):
        return np.zeros(0, dtype=np.int64), np.zeros((0, 4), dtype=np.int64)
    part = (pairs[:, 1] & _PART_BITS).astype(np.int64)
    first, second = pairs[:, 0], pairs[:, 1] & ~_PART_BITS
    order = np.lexsort((second, first))
    first, second, part = first[order], second[order], part[order]
    begins = np.flatnonzero(
        np.append(True, (first[1:] != first[:-1]) | (second[1:] != second[:-1]))
    )
    counts = np.add.reduceat(np.eye(4, dtype=np.int64)[part], begins, axis=0)
    return counts.sum(axis=1), counts
