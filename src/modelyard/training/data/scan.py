"""The first pass over a streamed dataset: everything that has to be known before the first epoch.

Each chunk is held to the contract, divided by the project's split, counted and sampled; keys that
two rows share are found over all chunks. What is held is bounded by the configuration.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import polars as pl

from modelyard.errors import ConfigError
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

Say = Callable[[str], None]


def scan(
    files: ParquetFiles,
    project: Project,
    config: StreamConfig,
    folder: Path,
    seed: int,
    say: Say,
) -> StreamedSplit:
    """Check all rows of `files` and divide them.

    What is in memory afterwards is a sample of each part; `say` tells how large.

    Args:
        folder: where hashes of keys are kept for the time of the pass, if it can be written to.
        seed: of the order in which training rows come.

    Raises:
        ConfigError: the project's split needs all rows at once.
        DataError: a table of what is wrong, as for data in memory.
    """
    say(f"check     {files.rows:,} rows, in chunks of {config.chunk_rows:,}")
    with ExitStack() as opened:
        found = _Scan(files, project, config, opened, _writable(folder))
        for chunk in RowStream(files, chunk_rows=config.chunk_rows).frames():
            found.add(chunk)
        found.finish()
    for line in unseen_categories(project.contract, found.seen):
        say(f"warning   {line}")
    split = found.split(seed)
    said = {n: f"{len(getattr(split.sample, n)):,} of {split.rows[n]:,}" for n in PARTS}
    say(
        f"rows      {split.rows['train']:,} to train, as a stream; "
        f"{said['validation']} to validate, {said['test']} to test"
    )
    say(f"baseline  will be fitted on {said['train']} training rows")
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
        """Check `chunk`; once a fault was found, nothing is done with rows but counting faults."""
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
        """Raise DataError when something was wrong with any chunk, or with all of them."""
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
    """Divide `chunk` whole and in two halves: each row has to get into the same part.

    Raises:
        ConfigError: it does not, so the split looks at more than the row itself.
    """
    middle = len(chunk) // 2
    whole = project.split(chunk)
    halves = [project.split(chunk[:middle]), project.split(chunk[middle:])]
    for name in PARTS:
        apart = pl.concat([getattr(half, name) for half in halves])
        if not _same_rows(getattr(whole, name), apart):
            raise ConfigError(
                "stream: the project's split puts a row into another part when other rows are "
                "beside it, so it cannot divide a dataset chunk by chunk.",
                fix="Divide by a hash of a key or by fixed moments: modelyard.training.data.split",
            )


def _same_rows(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    return len(one) == len(other) and one.hash_rows().sort().equals(other.hash_rows().sort())


def _writable(folder: Path) -> Path | None:
    """`folder`, made if need be; None, for the system's own, where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return None
