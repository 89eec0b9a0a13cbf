"""A dataset against its contract, before the first epoch."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from modelyard.contract import Contract, Feature, FeatureType
from modelyard.errors import DataError

_DTYPES: dict[FeatureType, tuple[type[pl.DataType], ...]] = {
    FeatureType.NUMBER: (pl.Float64, pl.Float32),
    FeatureType.INTEGER: (
        *(pl.Int8, pl.Int16, pl.Int32, pl.Int64),
        *(pl.UInt8, pl.UInt16, pl.UInt32),
    ),
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


def validate_data(data: pl.DataFrame, contract: Contract, target: str) -> None:
    """Check the features and the target of `data`.

    Raises:
        DataError: a line for each fault with the number of rows that have it.
    """
    if data.is_empty():
        raise DataError("The dataset has no rows.")
    faults = [fault for feature in contract.features for fault in _faults(data, feature)]
    faults += _target_faults(data, target)
    if faults:
        lines = [f"  {f.column}: {f.problem} ({f.rows:,} of {len(data):,} rows)" for f in faults]
        raise DataError(
            "The dataset breaks the contract:\n" + "\n".join(lines),
            fix="Nothing was trained or registered. Mend the data, or the project's contract.",
        )


def _faults(data: pl.DataFrame, feature: Feature) -> list[Fault]:
    if feature.name not in data.columns:
        return [Fault(feature.name, "the column is missing", len(data))]
    column = data[feature.name]
    if not isinstance(column.dtype, _DTYPES[feature.type]):
        problem = f"expected {feature.type}, found {column.dtype}"
        return [Fault(feature.name, problem, len(data))]
    checks = {"missing": column.is_null()}
    if column.dtype.is_float():
        checks["not finite"] = ~column.is_finite()
    if feature.minimum is not None:
        checks[f"below {feature.minimum:g}"] = column < feature.minimum
    if feature.maximum is not None:
        checks[f"above {feature.maximum:g}"] = column > feature.maximum
    if feature.categories and not feature.allow_unknown:
        checks["not a known category"] = ~column.cast(pl.String).is_in(feature.categories)
    counted = ((problem, int(wrong.sum() or 0)) for problem, wrong in checks.items())
    return [Fault(feature.name, problem, rows) for problem, rows in counted if rows]


def _target_faults(data: pl.DataFrame, target: str) -> list[Fault]:
    if target not in data.columns:
        return [Fault(target, "the target column is missing", len(data))]
    column = data[target]
    if nulls := column.null_count():
        return [Fault(target, "missing", nulls)]
    if column.n_unique() == 1:
        return [Fault(target, "has one and the same value", len(data))]
    return []
