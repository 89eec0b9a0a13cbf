"""A bounded sample of rows that come in chunks; their order does not change it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from modelyard.training.data.keys import hash_keys

_HASH = "modelyard.sample.hash"
_SEED = 3


class RowSample:
    """The `limit` rows with the lowest hashes of their keys; all rows when there are no more.

    No label depends on a hash, so the sample is as good as a random one; and when rows are added
    to the dataset, most of it stays.

    Args:
        key: columns that name a row; all columns when empty.
    """

    def __init__(self, limit: int, key: Sequence[str] = ()) -> None:
        self._limit = limit
        self._key = key
        self._held: list[pl.DataFrame] = []
        self._count = 0
        self._highest: int | None = None

    def add(self, rows: pl.DataFrame) -> None:
        """Let `rows` compete for the sample."""
        hashed = rows.with_columns(pl.Series(_HASH, hash_keys(rows, self._key, _SEED)))
        if self._highest is not None:
            hashed = hashed.filter(pl.col(_HASH) < self._highest)
        self._held.append(hashed)
        self._count += len(hashed)
        if self._count > 2 * self._limit:
            self._cut()

    def rows(self) -> pl.DataFrame:
        """The sample, in the order of the hashes."""
        if not self._held:
            return pl.DataFrame()
        self._cut()
        return self._held[0].drop(_HASH)

    def _cut(self) -> None:
        kept = (
            pl.concat(self._held, how="diagonal_relaxed")
            .sort(_HASH, maintain_order=True)
            .head(self._limit)
        )
        self._held, self._count = [kept], len(kept)
        if len(kept) == self._limit:
            self._highest = int(kept[_HASH][-1])
