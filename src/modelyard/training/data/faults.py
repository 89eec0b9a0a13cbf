"""What is wrong with rows, by the contract: pandera looks at each column, all faults at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaError, SchemaErrorReason, SchemaErrors

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.errors import did_you_mean
from modelyard.training.project import DataRules

_NUMBERS = (pl.Float64, pl.Float32)
_INTEGERS = (
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64),
    *(pl.UInt8, pl.UInt16, pl.UInt32),
)
_DTYPES: dict[FeatureType, tuple[type[pl.DataType], ...]] = {
    FeatureType.NUMBER: (*_NUMBERS, *_INTEGERS),
    FeatureType.INTEGER: _INTEGERS,
    FeatureType.BOOLEAN: (pl.Boolean,),
    FeatureType.STRING: (pl.String,),
    FeatureType.CATEGORY: (pl.String, pl.Categorical, pl.Enum),
}


@dataclass(frozen=True)
class Fault:
    """What is wrong with one column, in how many rows."""

    column: str
    problem: str
    rows: int


def fault_table(faults: Iterable[Fault], rows: int) -> str:
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
) -> Iterator[Fault]:
    """Every column that is not there; a renamed one shows among those that nobody asked for."""
    wanted = dict.fromkeys((*contract.names, target, *rules.row_key, *rules.split_key))
    unasked = [name for name in data.columns if name not in wanted]
    for name in wanted:
        if name not in data.columns:
            hint = did_you_mean(name, unasked) or (
                f" Not asked for: {', '.join(unasked)}." if unasked else ""
            )
            what = "target column" if name == target else "column"
            yield Fault(name, f"the {what} is missing.{hint}", len(data))


def column_faults(data: pl.DataFrame, contract: Contract, target: str) -> list[Fault]:
    """Values that features or target may not have, and columns of a type they may not have."""
    columns = {f.name: _column(data[f.name].dtype, f) for f in contract.features if f.name in data}
    if target in data:
        columns[target] = _target_column(data[target].dtype, contract.output)
    try:
        pa.DataFrameSchema(columns).validate(data, lazy=True)
    except SchemaErrors as errors:
        return [_fault(error, data) for error in errors.schema_errors]
    return []


def _fault(error: SchemaError, data: pl.DataFrame) -> Fault:
    name = str(error.schema.name)
    match error.reason_code:
        case SchemaErrorReason.WRONG_DATATYPE:
            expected = error.schema.metadata["expected"]
            return Fault(name, f"expected {expected}, found {data[name].dtype}", len(data))
        case SchemaErrorReason.CHECK_ERROR:
            raise error  # a check that cannot be computed is a defect of ours, not of the data
        case _:
            return Fault(name, str(error.check.error), len(error.failure_cases))


def _column(dtype: pl.DataType, feature: Feature) -> pa.Column:
    """The pandera column for `feature`; a dtype it may not have is the one fault it then has."""
    allowed = _DTYPES[feature.type]
    expected = {"expected": feature.type.value}
    if not isinstance(dtype, allowed):
        return pa.Column(allowed[0], nullable=True, metadata=expected)
    value = pl.col(feature.name)
    checks = [_check(value.is_not_null(), "missing")]
    if dtype.is_float():
        checks.append(_check(value.is_finite(), "not finite"))
    known = value.is_not_nan() if dtype.is_float() else pl.lit(value=True)
    if feature.minimum is not None:
        checks.append(_check(~known | (value >= feature.minimum), f"below {feature.minimum:.15g}"))
    if feature.maximum is not None:
        checks.append(_check(~known | (value <= feature.maximum), f"above {feature.maximum:.15g}"))
    if feature.categories and not feature.allow_unknown:
        text = value.cast(pl.String)
        checks.append(_check(text.is_in(list(feature.categories)), "not a known category"))
    elif feature.type in (FeatureType.STRING, FeatureType.CATEGORY):
        length = value.cast(pl.String).str.len_chars()
        checks.append(
            _check(length <= feature.max_length, f"longer than {feature.max_length} characters")
        )
    return pa.Column(dtype, checks=checks, nullable=True, metadata=expected)


def _target_column(dtype: pl.DataType, output: Output) -> pa.Column:
    """The pandera column for the label, by what the contract's output means."""
    label = pl.all()
    checks = [_check(label.is_not_null(), "missing")]
    number = isinstance(dtype, (*_NUMBERS, *_INTEGERS))
    match output.kind:
        case OutputKind.PROBABILITY:
            expected = "0 and 1"
            fits = number or isinstance(dtype, pl.Boolean)
            if fits:
                label = label.cast(pl.Float64)
                checks.append(_check((label == 0) | (label == 1), "neither 0 nor 1"))
        case OutputKind.CLASS_PROBABILITIES:
            expected = "a class, or its index"
            text = isinstance(dtype, (pl.String, pl.Categorical, pl.Enum))
            fits = text or isinstance(dtype, _INTEGERS)
            known = (
                label.cast(pl.String).is_in(list(output.classes))
                if text
                else label.is_between(0, len(output.classes) - 1)
            )
            checks.append(_check(known, "not a class of the contract"))
        case OutputKind.VALUE:
            expected, fits = "number", number
            if dtype.is_float():
                checks.append(_check(label.is_finite(), "not finite"))
    if not fits:
        return pa.Column(pl.Float64, nullable=True, metadata={"expected": expected})
    return pa.Column(dtype, checks=checks, nullable=True, metadata={"expected": expected})


def _check(holds: pl.Expr, problem: str) -> pa.Check:
    """A check whose failing rows are counted under `problem`; a missing value is one fault only."""

    def check(data: Any) -> pl.LazyFrame:
        frame: pl.LazyFrame = data.lazyframe
        return frame.select(data.key).select(holds.fill_null(value=True))

    return pa.Check(check, error=problem, ignore_na=False)
