"""A dataset against its contract and its project's rules, before the first epoch.

The result is a table of how many rows have which fault, never a value of the data. A streamed
dataset is checked chunk by chunk, by the same rules; `keys.py` finds keys that its rows share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import polars as pl

from modelyard.contract import Contract, Output, OutputKind
from modelyard.errors import DataError
from modelyard.training.data.faults import DataFault, column_faults, fault_table, missing_columns
from modelyard.training.project import DataRules, Split

PARTS = ("train", "validation", "test")
PAIRS = (("validation", "train"), ("test", "train"), ("test", "validation"))
"""A later part and an earlier one; they must not share a row or a split key."""

_ALL_PARTS = "all parts"


def validate_data(
    data: pl.DataFrame, contract: Contract, target: str, rules: DataRules | None = None
) -> None:
    """Check features, target and keys of `data`.

    Raises:
        DataError: a table with a line for each fault and the number of rows that have it.
    """
    check = DataCheck(contract, target, rules or DataRules())
    check.add(data)
    key, duplicates = check.rules.row_key, 0
    if key and set(key) <= set(data.columns):
        duplicates = int(data.select(key).is_duplicated().sum())
    check.finish(duplicate_fault(key, duplicates))


class DataCheck:
    """Rows against contract and rules, in any number of chunks."""

    def __init__(self, contract: Contract, target: str, rules: DataRules) -> None:
        self.contract = contract
        self.target = target
        self.rules = rules
        self.rows = 0
        self._found: dict[tuple[str, str], int] = {}
        self._label = _Label()

    @property
    def is_clean(self) -> bool:
        """Whether no row has had a fault so far."""
        return not self._found

    def add(self, chunk: pl.DataFrame) -> None:
        """Check the rows of `chunk`."""
        self.rows += len(chunk)
        faults = [*missing_columns(chunk, self.contract, self.target, self.rules)]
        if len(chunk):
            faults += column_faults(chunk, self.contract, self.target)
        for fault in faults:
            place = fault.column, fault.problem
            self._found[place] = self._found.get(place, 0) + fault.rows
        if not any(column == self.target for column, _ in self._found):
            self._label.add(chunk[self.target])

    def finish(self, more: Iterable[DataFault] = ()) -> None:
        """Raise DataError if there are faults: those found, and `more`."""
        if not self.rows:
            raise DataError(
                "The dataset has no rows.", fix="Look at the file that the DVC pointer names."
            )
        faults = [DataFault(*place, rows) for place, rows in self._found.items()]
        faults += more
        if not any(column == self.target for column, _ in self._found):
            faults += self._label.faults(self.target, self.contract.output, self.rules)
        if faults:
            raise DataError(
                "The dataset breaks the contract:\n" + fault_table(faults, self.rows),
                fix="Nothing was trained or registered. Correct the data, or the contract.",
            )


def validate_split(
    split: Split, rows: int, contract: Contract, target: str, rules: DataRules
) -> None:
    """Check that the parts together are the dataset, and that each can do its work.

    Args:
        rows: how many rows the dataset has.

    Raises:
        DataError: a line for each fault.
    """
    check = SplitCheck(contract, target, rules)
    check.add(split, rows)
    key = shareable_key(rules)
    leaks = [leak_fault(key, *pair, rows) for pair, rows in _shared(split, key).items()]
    check.finish(chain.from_iterable(leaks))


class SplitCheck:
    """The parts of a split, in any number of chunks.

    It finds row keys that two parts of one chunk share; the caller finds those across chunks.
    """

    def __init__(self, contract: Contract, target: str, rules: DataRules) -> None:
        self.rows = dict.fromkeys(PARTS, 0)
        self._target = target
        self._contract = contract
        self._row_key = rules.row_key
        self._labels = {name: _Label() for name in PARTS}
        self._total = self._lost = self._surplus = 0
        self._twice = dict.fromkeys(PAIRS, 0)

    def add(self, split: Split, rows: int) -> None:
        """Check the parts of `rows` rows."""
        self._total += rows
        divided = 0
        for name in PARTS:
            part: pl.DataFrame = getattr(split, name)
            divided += len(part)
            self.rows[name] += len(part)
            if len(part):
                self._labels[name].add(part[self._target])
        self._lost += max(rows - divided, 0)
        self._surplus += max(divided - rows, 0)
        for pair, shared in _shared(split, self._row_key).items():
            self._twice[pair] += shared

    def finish(self, more: Iterable[DataFault] = ()) -> None:
        """Raise DataError if there are faults: those found, and `more`."""
        faults = [
            DataFault(name, "the part has no rows", 0) for name in PARTS if not self.rows[name]
        ]
        if self._lost:
            faults.append(DataFault(_ALL_PARTS, "rows of the dataset are in no part", self._lost))
        if self._surplus:
            faults.append(DataFault(_ALL_PARTS, "more rows than the dataset has", self._surplus))
        for (later, earlier), shared in self._twice.items():
            faults += leak_fault(self._row_key, later, earlier, shared)
        if self._contract.output.kind is not OutputKind.VALUE:
            faults += [
                DataFault(name, f"has one class only in {self._target}", self.rows[name])
                for name in PARTS
                if self._labels[name].is_constant
            ]
        faults += more
        if faults:
            raise DataError(
                "The split cannot be used:\n" + fault_table(faults, self._total),
                fix="Nothing was trained or registered. Use more rows, or correct the project's "
                "split.",
            )


class _Label:
    """What no single row shows of a label: whether it varies, and how often it is positive."""

    def __init__(self) -> None:
        self._rows = 0
        self._positive = 0.0
        self._values: set[Any] = set()

    def add(self, label: pl.Series) -> None:
        self._rows += len(label)
        if len(self._values) <= 1:  # two are enough to know
            self._values.update(label.unique().head(2))
        if label.dtype.is_numeric() or label.dtype == pl.Boolean:
            self._positive += float(label.sum())

    @property
    def is_constant(self) -> bool:
        return len(self._values) == 1

    def faults(self, name: str, output: Output, rules: DataRules) -> list[DataFault]:
        """Faults that no single row has."""
        if self.is_constant:
            return [DataFault(name, "has one and the same value", self._rows)]
        if output.kind is not OutputKind.PROBABILITY:
            return []
        low, high = rules.label_rate
        rate = self._positive / max(self._rows, 1)
        if low <= rate <= high:
            return []
        problem = f"label rate {rate:.2%}, expected {low:.2%} to {high:.2%}"
        return [DataFault(name, problem, int(self._positive))]


def seen_categories(contract: Contract, rows: pl.DataFrame) -> Mapping[str, set[str]]:
    """Feature → those of its categories that `rows` have."""
    return {
        feature.name: set(rows[feature.name].unique().cast(pl.String)) & set(feature.categories)
        for feature in contract.features
        if feature.categories
    }


def unseen_categories(contract: Contract, seen: Mapping[str, set[str]]) -> list[str]:
    """A sentence for each feature with categories that are not among those `seen` in training.

    A request may have such a category, and the model has learned nothing about it.
    """
    sentences = []
    for feature in contract.features:
        seen_here = seen.get(feature.name, set())
        if missing := [name for name in feature.categories if name not in seen_here]:
            sentences.append(f"{feature.name}: no training row has {', '.join(missing)}")
    return sentences


def duplicate_fault(key: Sequence[str], rows: int) -> list[DataFault]:
    """The fault of `rows` rows that share their `key` with another row; empty for no rows."""
    return [DataFault(", ".join(key), "rows share what must name one row", rows)] if rows else []


def leak_fault(key: Sequence[str], later: str, earlier: str, rows: int) -> list[DataFault]:
    """The fault of `rows` rows of one part whose key is in another part; empty for no rows."""
    problem = f"rows of {later} whose key is in {earlier}, too"
    return [DataFault(", ".join(key), problem, rows)] if rows else []


def shareable_key(rules: DataRules) -> tuple[str, ...]:
    """The split key if two rows may share it; one that contains the row key cannot leak."""
    unique = bool(rules.row_key) and set(rules.row_key) <= set(rules.split_key)
    return () if unique else rules.split_key


def _shared(split: Split, key: tuple[str, ...]) -> Mapping[tuple[str, str], int]:
    """(later, earlier) → rows of the later part whose key is in the earlier part; empty without."""
    return {
        (later, earlier): len(
            getattr(split, later).join(getattr(split, earlier), on=list(key), how="semi")
        )
        for later, earlier in (PAIRS if key else ())
    }
