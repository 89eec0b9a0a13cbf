"""Scores a Parquet file batch by batch: memory holds one batch, whatever the file's size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from modelyard.contract import Contract, OutputKind
from modelyard.errors import DataError, did_you_mean
from modelyard.scoring.bundle import Bundle
from modelyard.scoring.column import EncodedStrings
from modelyard.scoring.rows.columns import RawColumn, check_columns
from modelyard.scoring.rows.faults import Fault, RowsRefusedError
from modelyard.scoring.runner import RunnerError

_BUFFER_BYTES = 1 << 20
_LISTED_FAULTS = 5
_FIX = "Fetch the file, or write it, again."


def open_source(path: Path) -> pq.ParquetFile:
    """The Parquet file at `path`; raises DataError when it is none."""
    if path.is_dir():
        raise DataError(f"{path} is a folder.", fix=f"Name one file: {path / 'IN.parquet'}")
    if not path.exists():
        raise DataError(
            f"There is no file {path}.", fix="Name the Parquet file that holds the rows to score."
        )
    try:
        # a buffer: without one, whole column chunks are read, and some files have but one
        return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"{path} is not a Parquet file that can be read: {_why(error)}", fix=_FIX
        ) from error


def score(
    source: pq.ParquetFile,
    target: Path,
    bundle: Bundle,
    metadata: Mapping[str, str],
    batch_rows: int,
    tell: Callable[[int], None],
) -> int:
    """Write the rows of `source` with their predictions to `target`; returns how many.

    Args:
        source: its columns must hold those of the contract; others are copied.
        target: replaced when all is written; untouched until then, and when something fails.
        bundle: the model and its contract.
        metadata: kept in the file's schema.
        batch_rows: rows in memory at once.
        tell: called after each batch with the number of rows done.

    Raises:
        DataError: a column or a row does not keep the contract, the model fails on it, the source
            cannot be read or the target cannot be written.
    """
    contract = bundle.contract
    schema = source.schema_arrow
    _check_names(schema.names, contract)
    done = 0
    with _replacing(target) as path:
        writer: pq.ParquetWriter | None = None
        try:
            for batch in _batches(source, batch_rows):
                scored = _scored(batch, bundle, done)
                if writer is None:
                    kept = {**(scored.schema.metadata or {}), **metadata}
                    writer = pq.ParquetWriter(path, scored.schema.with_metadata(kept))
                writer.write_batch(scored)
                done += batch.num_rows
                tell(done)
            if writer is None:
                raise DataError("The file has no rows.")
        finally:
            if writer is not None:
                writer.close()
    return done


def _batches(source: pq.ParquetFile, rows: int) -> Iterator[pa.RecordBatch]:
    """The rows in batches; an unreadable source is not mistaken for an unwritable target."""
    batches = source.iter_batches(batch_size=rows)
    done = 0
    while True:
        try:
            batch = next(batches, None)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"The file cannot be read beyond row {done}: {_why(error)}", fix=_FIX
            ) from error
        if batch is None:
            return
        yield batch
        done += batch.num_rows


def _why(error: BaseException) -> str:
    """The reason in one line; pyarrow gives errors of the system no number and no `strerror`."""
    reason = getattr(error, "strerror", None) or str(error)
    return " ".join(reason.split()).removesuffix(".") + "."


def _check_names(names: list[str], contract: Contract) -> None:
    if missing := [name for name in contract.names if name not in names]:
        hint = did_you_mean(missing[0], names)
        raise DataError(
            f"The file lacks columns of the model's contract: {', '.join(missing)}.{hint}",
            fix=f"It must have: {', '.join(contract.names)}.",
        )
    if taken := [name for name in _output_names(contract) if name in names]:
        raise DataError(
            f"The file has columns with the names of predictions already: {', '.join(taken)}.",
            fix="Rename or drop them.",
        )


def _output_names(contract: Contract) -> tuple[str, ...]:
    output = contract.output
    is_many = output.kind is OutputKind.CLASS_PROBABILITIES
    return output.classes if is_many else (output.name,)


def _scored(batch: pa.RecordBatch, bundle: Bundle, start: int) -> pa.RecordBatch:
    """`batch`, whose first row is row `start` of the file, with a column for each output."""
    raw = {name: _raw_column(batch.column(name), name, start) for name in bundle.contract.names}
    try:
        columns = check_columns(raw, bundle.contract, [])
        predictions = bundle.runner.predict(columns)
    except RowsRefusedError as error:
        found = "; ".join(_sentence(fault, start) for fault in error.faults[:_LISTED_FAULTS])
        raise DataError(f"The file does not keep the model's contract: {found}.") from error
    except RunnerError as error:
        raise DataError(
            f"The model failed within the rows {start} to {start + batch.num_rows - 1}: {error}"
        ) from error
    finite = np.isfinite(predictions).reshape(len(predictions), -1).all(axis=1)
    if not finite.all():
        row = start + int(np.flatnonzero(~finite)[0])
        raise DataError(f"The model has no finite answer for row {row}.")
    by_output = predictions.T if predictions.ndim > 1 else [predictions]
    for name, values in zip(_output_names(bundle.contract), by_output, strict=True):
        batch = batch.append_column(name, pa.array(np.ascontiguousarray(values)))
    return batch


def _raw_column(column: Any, name: str, start: int) -> RawColumn:
    """A column in numpy's terms."""
    if column.null_count:
        row = start + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"{name} must not have nulls: row {row} has one.")
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if any(test(kind) for test in texts):
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.large_string()).dictionary_encode()
        return EncodedStrings(column.dictionary.to_pylist(), column.indices.to_numpy())
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    if any(test(kind) for test in numbers):
        values: RawColumn = column.to_numpy(zero_copy_only=False)
        return values
    return np.empty(0, "V1")  # a type that no feature has


def _sentence(fault: Fault, start: int) -> str:
    """A fault with the row's number in the file."""
    name, *row = fault.place
    place = f"{name} (row {start + int(row[0])})" if row else name
    return f"{place} {fault.message}"


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A file beside `target` that replaces it on success."""
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        raise DataError(f"{target} cannot be written: {_why(error)}") from error
    finally:
        beside.unlink(missing_ok=True)
