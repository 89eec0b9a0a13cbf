"""What is wrong with rows, by the contract: every fault of every column, counted in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.errors import did_you_mean
from modelyard.training.project import DataRules

_INTEGERS = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64),
    *(pl.UInt8, pl.UInt16, pl.UInt32),  # int64 cannot hold a UInt64
)
_NUMBERS = (pl.Float64, pl.Float32, *_INTEGERS)
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_DTYPES: Mapping[FeatureType, tuple[type[pl.DataType], ...]] = {
    FeatureType.NUMBER: _NUMBERS,
    FeatureType.INTEGER: _INTEGERS,
    FeatureType.BOOLEAN: (pl.Boolean,),
    FeatureType.STRING: (pl.String,),
    FeatureType.CATEGORY: _TEXTS,
}


@dataclass(frozen=True)
class DataFault:
    """What is wrong with one column, in how many rows."""

    column: str
    problem: str
    rows: int


def fault_table(faults: Iterable[DataFault], rows: int) -> str:
    """The faults as aligned lines: column, problem, rows that have it."""
    lines = [(f.column, f.problem, f"{f.rows:,}") for f in faults]
    lines.insert(0, ("column", "problem", f"rows of {rows:,}"))
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    return "\n".join(
        f"  {column:{widths[0]}}  {problem:{widths[1]}}  {count:>{widths[2]}}"
        for column, problem, count in lines
    )


def missing_columns(
    data: pl.DataFrame, contract: Contract, target: str, rules: DataRules
) -> Iterator[DataFault]:
    """Every column that is missing, with the columns that a renamed one may be found among."""
    required = dict.fromkeys((*contract.names, target, *rules.row_key, *rules.split_key))
    unused = [name for name in data.columns if name not in required]
    for name in required:
        if name not in data.columns:
            hint = did_you_mean(name, unused) or (
                f" Columns that are not used: {', '.join(unused)}." if unused else ""
            )
            what = "target column" if name == target else "column"
            yield DataFault(name, f"the {what} is missing.{hint}", len(data))


def column_faults(data: pl.DataFrame, contract: Contract, target: str) -> list[DataFault]:
    """Columns of a wrong type, and values that a feature or the target may not have."""
    columns = {
        feature.name: _feature_counts(feature, data[feature.name].dtype)
        for feature in contract.features
        if feature.name in data
    }
    if target in data:
        columns[target] = _label_counts(target, contract.output, data[target].dtype)
    counts = {
        (column, problem): count
        for column, problems in columns.items()
        for problem, count in problems.items()
    }
    if not counts:
        return []
    found = data.select(count.alias(str(index)) for index, count in enumerate(counts.values()))
    return [
        DataFault(column, problem, rows)
        for (column, problem), rows in zip(counts, found.row(0), strict=True)
        if rows
    ]


def _feature_counts(feature: Feature, dtype: pl.DataType) -> dict[str, pl.Expr]:
    """Problem → an expression that counts its rows.

    A missing value has no other fault: compared with anything it gives null, which sums leave out.
    """
    if not isinstance(dtype, _DTYPES[feature.type]):
        return {f"expected {feature.type.value}, found {dtype}": pl.len()}
    value = pl.col(feature.name)
    counts = {"missing": value.null_count()}
    comparable = pl.lit(value=True)
    if dtype.is_float():
        comparable = value.is_finite()  # polars has NaN above everything
        counts["not finite"] = (~comparable).sum()
    if feature.minimum is not None:
        is_below = comparable & (value < feature.minimum)
        counts[f"below {feature.minimum:.15g}"] = is_below.sum()
    if feature.maximum is not None:
        is_above = comparable & (value > feature.maximum)
        counts[f"above {feature.maximum:.15g}"] = is_above.sum()
    text = value.cast(pl.String)
    if feature.categories and not feature.allow_unknown:
        counts["not a known category"] = (~text.is_in(feature.categories)).sum()
    elif feature.type in (FeatureType.STRING, FeatureType.CATEGORY):
        too_long = text.str.len_chars() > feature.max_length
        counts[f"longer than {feature.max_length} characters"] = too_long.sum()
    return counts


def _label_counts(name: str, output: Output, dtype: pl.DataType) -> dict[str, pl.Expr]:
    """The same for the label, by what the contract's output means."""
    label = pl.col(name)
    counts = {"missing": label.null_count()}
    allowed: tuple[type[pl.DataType], ...]
    match output.kind:
        case OutputKind.PROBABILITY:
            expected, allowed = "0 and 1", (*_NUMBERS, pl.Boolean)
            number = label.cast(pl.Float64)
            counts["neither 0 nor 1"] = ((number != 0) & (number != 1)).sum()
        case OutputKind.CLASS_PROBABILITIES:
            expected, allowed = "a class, or its index", (*_TEXTS, *_INTEGERS)
            known = (
                label.is_between(0, len(output.classes) - 1)
                if dtype.is_integer()
                else label.cast(pl.String).is_in(output.classes)
            )
            counts["not a class of the contract"] = (~known).sum()
        case OutputKind.VALUE:
            expected, allowed = "number", _NUMBERS
            if dtype.is_float():
                counts["not finite"] = (~label.is_finite()).sum()
    if not isinstance(dtype, allowed):
        return {f"expected {expected}, found {dtype}": pl.len()}
    return counts
