"""The first pass over a streamed dataset: all that must be known before the first epoch.

Each chunk is checked against the contract, divided by the project's split, counted and sampled;
keys that two rows share are found across chunks. The configuration bounds what is in memory.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import polars as pl

from modelyard.errors import ConfigError
from modelyard.program import Echo
from modelyard.training.data.faults import DataFault
from modelyard.training.data.keys import KeyHashes
from modelyard.training.data.parquet import ParquetFiles
from modelyard.training.data.sample import RowSample
from modelyard.training.data.stream import RowStream
from modelyard.training.data.validate import (
    PAIRS,
    PARTS,
    DataCheck,
    SplitCheck,
    duplicate_fault,
    leak_fault,
    seen_categories,
    shareable_key,
    unseen_categories,
)
from modelyard.training.experiment import StreamConfig
from modelyard.training.project import Project, Split, StreamedSplit


def scan(
    files: ParquetFiles,
    project: Project,
    config: StreamConfig,
    folder: Path,
    seed: int,
    echo: Echo,
) -> StreamedSplit:
    """Check all rows of `files` and divide them.

    Afterwards a sample of each part is in memory; `echo` shows how large.

    Args:
        folder: holds hashes of keys during the pass; the system's own when it is not writable.
        seed: of the order of the training rows.

    Raises:
        ConfigError: the project's split needs all rows at once.
        DataError: a table of what is wrong, as for data in memory.
    """
    echo(f"check     {files.rows:,} rows, in chunks of {config.chunk_rows:,}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            hashes: Path | None = folder
    except OSError:
        hashes = None
    with ExitStack() as opened:
        found = _Scan(files, project, config, opened, hashes)
        for chunk in RowStream(files, chunk_rows=config.chunk_rows).frames():
            found.add(chunk)
        found.finish()
    for line in unseen_categories(project.contract, found.seen):
        echo(f"warning   {line}")
    split = found.split(seed)
    said = {n: f"{len(getattr(split.sample, n)):,} of {split.rows[n]:,}" for n in PARTS}
    echo(
        f"rows      {split.rows['train']:,} to train, as a stream; "
        f"{said['validation']} to validate, {said['test']} to test"
    )
    echo(f"baseline  will be fitted on {said['train']} training rows")
    return split


class _Scan:
    """What is known of a dataset while its chunks pass by."""

    def __init__(
        self,
        files: ParquetFiles,
        project: Project,
        config: StreamConfig,
        opened: ExitStack,
        folder: Path | None,
    ) -> None:
        self._files = files
        self._project = project
        self._config = config
        rules = project.rules
        self._data = DataCheck(project.contract, project.target, rules)
        self._parts = SplitCheck(project.contract, project.target, rules)
        limits = (config.baseline_rows, config.held_out_rows, config.held_out_rows)
        self._samples = {
            name: RowSample(limit, rules.row_key) for name, limit in zip(PARTS, limits, strict=True)
        }

        def hashes(key: tuple[str, ...]) -> KeyHashes | None:
            return opened.enter_context(KeyHashes(folder, key, files.rows)) if key else None

        self._rows = hashes(rules.row_key)
        self._keys = hashes(shareable_key(rules))
        self.seen: dict[str, set[str]] = {}
        self._divided = False

    def add(self, chunk: pl.DataFrame) -> None:
        """Check `chunk`; after the first fault, rows are only checked and no longer sampled."""
        self._data.add(chunk)
        if self._rows is not None and set(self._project.rules.row_key) <= set(chunk.columns):
            self._rows.add(chunk)
        if not self._data.is_clean:
            return
        if not self._divided:
            _require_split_by_rows(self._project, chunk)
            self._divided = True
        split = self._project.split(chunk)
        self._parts.add(split, len(chunk))
        for index, name in enumerate(PARTS):
            part: pl.DataFrame = getattr(split, name)
            self._samples[name].add(part)
            if self._keys is not None:
                self._keys.add(part, index)
        for name, values in seen_categories(self._project.contract, split.train).items():
            self.seen.setdefault(name, set()).update(values)

    def finish(self) -> None:
        """Raise DataError when a chunk, or all chunks together, had a fault."""
        rules = self._project.rules
        shared = self._rows.duplicates() if self._rows is not None else 0
        self._data.finish(duplicate_fault(rules.row_key, shared))
        leaks: list[DataFault] = []
        if self._keys is not None:
            numbers = [(PARTS.index(later), PARTS.index(earlier)) for later, earlier in PAIRS]
            for (later, earlier), rows in self._keys.leaks(numbers).items():
                leaks += leak_fault(rules.split_key, PARTS[later], PARTS[earlier], rows)
        self._parts.finish(leaks)

    def split(self, seed: int) -> StreamedSplit:
        """The training rows as a stream, and bounded samples of all parts."""
        config, rows = self._config, self._parts.rows
        train = RowStream(
            self._files,
            lambda frame: self._project.split(frame).train,
            rows["train"],
            config.chunk_rows,
            config.buffer_rows,
            seed,
        )
        sample = Split(**{name: self._samples[name].rows() for name in PARTS})
        return StreamedSplit(train, sample, dict(rows))


def _require_split_by_rows(project: Project, chunk: pl.DataFrame) -> None:
    """Divide `chunk` whole and in two halves: each row must get into the same part both times.

    Raises:
        ConfigError: the split depends on more than the row itself.
    """
    middle = len(chunk) // 2
    whole = project.split(chunk)
    halves = [project.split(chunk[:middle]), project.split(chunk[middle:])]
    for name in PARTS:
        apart = pl.concat([getattr(half, name) for half in halves])
        together: pl.DataFrame = getattr(whole, name)
        if not together.hash_rows().sort().equals(apart.hash_rows().sort()):
            raise ConfigError(
                "stream: the project's split puts a row into another part when other rows are "
                "beside it, so it cannot divide a dataset chunk by chunk.",
                fix="Divide by a hash of a key or by fixed moments: modelyard.training.data.split",
            )
