"""Columns that come as columns: checked whole, by array, against the contract.

`Feature.fault` says what is acceptable and in which words; the arrays here only find the rows for
which it has to be asked (a test compares the two for every type).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from modelyard.contract import Contract, Feature, FeatureType
from modelyard.scoring.column import Array, Column, EncodedColumns, EncodedStrings
from modelyard.scoring.rows.faults import MAX_FAULTS, Fault, Place, refuse, unknown_names

_INT64_MAX = 2**63 - 1
_NOTHING: Array = np.empty(0)


RawColumn = Column | Sequence[Any]
"""A column as it came: a column, or a list of values as JSON has them."""


def check_columns(
    given: Mapping[str, RawColumn],
    contract: Contract,
    place: Place,
    *,
    ignore_unknown: bool = False,
) -> EncodedColumns:
    """The columns of the contract, each with its dtype, shape `[rows]`.

    Args:
        given: a column by its name; all of them as long as each other.
        contract: what they have to keep.
        place: where in the body they stand, for faults.
        ignore_unknown: take no notice of columns that are no feature's.

    Raises:
        RowsRefusedError: names each faulty column, and the row where a value is at fault.
    """
    columns: EncodedColumns = {}
    faults: list[Iterator[Fault]] = []
    for feature in contract.features:
        where = [*place, feature.name]
        if feature.name not in given:
            faults.append(iter([Fault(where, "is required")]))
            continue
        column, found = _check_column(feature, given[feature.name], where)
        columns[feature.name] = column
        faults.append(found)
    if not ignore_unknown:
        faults.append(unknown_names(given, contract, place))
    refuse(chain.from_iterable(faults))
    return columns


def as_array(feature: Feature, values: Sequence[Any]) -> Array | None:
    """`values` as an array of the feature's dtype when their types allow it without a doubt."""
    kinds = set(map(type, values))
    try:
        match feature.type:
            case FeatureType.NUMBER if kinds <= {int, float}:
                return np.array(values, np.float64)
            case FeatureType.INTEGER if kinds <= {int}:
                return np.array(values, np.int64)
            case FeatureType.BOOLEAN if kinds <= {bool}:
                return np.array(values, np.bool_)
            case FeatureType.STRING | FeatureType.CATEGORY if kinds <= {str}:
                return np.array(values, object)
    except OverflowError:  # the slow look says which one
        pass
    return None


def _check_column(
    feature: Feature, given: RawColumn, place: Place
) -> tuple[Column, Iterator[Fault]]:
    """The column, and its faults; it means nothing when it has some."""
    if isinstance(given, EncodedStrings):
        return _check_encoded(feature, given, place)
    if not isinstance(given, np.ndarray):
        array = as_array(feature, given)
        if array is None:
            return _NOTHING, _value_faults(feature, enumerate(given), place)
        given = array
    if not _holds(feature, given):
        return _NOTHING, iter([Fault(place, _expected(feature))])
    # `tolist`: the contract judges Python's values
    rows = ((int(row), given[row : row + 1].tolist()[0]) for row in _suspects(feature, given))
    column = given.astype(feature.type.dtype, copy=False)
    return column, _value_faults(feature, rows, place)


def _holds(feature: Feature, column: Array) -> bool:
    """Whether a column of this dtype can hold the feature's values, and no others."""
    match feature.type:
        case FeatureType.NUMBER:
            return column.dtype.kind in "iuf"
        case FeatureType.INTEGER:
            return column.dtype.kind in "iu"
        case FeatureType.BOOLEAN:
            return column.dtype.kind == "b"
        case _:
            return column.dtype.kind == "O"


def _suspects(feature: Feature, column: Array) -> Sequence[int] | npt.NDArray[np.intp]:
    """Rows of a column of the right dtype that the contract does not take."""
    match feature.type:
        case FeatureType.BOOLEAN:
            return ()
        case FeatureType.NUMBER | FeatureType.INTEGER:
            return _out_of_range(feature, column)
        case _:
            return _bad_strings(feature, column)


def _out_of_range(feature: Feature, column: Array) -> Sequence[int] | npt.NDArray[np.intp]:
    if len(column) == 0:
        return ()
    # two reductions instead of a mask: NaN makes both of them NaN
    low, high = column.min(), column.max()
    inside = bool(np.isfinite(low) and np.isfinite(high))
    inside &= feature.minimum is None or bool(low >= feature.minimum)
    inside &= feature.maximum is None or bool(high <= feature.maximum)
    if feature.type is FeatureType.INTEGER:
        inside &= int(high) <= _INT64_MAX
    if inside:
        return ()
    bad = ~np.isfinite(column)
    if feature.minimum is not None:
        bad |= column < feature.minimum
    if feature.maximum is not None:
        bad |= column > feature.maximum
    if feature.type is FeatureType.INTEGER and column.dtype == np.uint64:
        bad |= column > np.uint64(_INT64_MAX)
    return np.flatnonzero(bad)[: MAX_FAULTS + 1]


def _bad_strings(feature: Feature, column: Array) -> Sequence[int]:
    values = column.tolist()
    if feature.categories and not feature.allow_unknown:
        known = set(feature.categories)
        if known.issuperset(values):
            return ()
        return [row for row, value in enumerate(values) if value not in known]
    if not values or max(map(len, values)) <= feature.max_length:
        try:
            "".join(values).encode()
        except UnicodeEncodeError:
            pass
        else:
            return ()
    return [row for row, value in enumerate(values) if feature.fault(value)]


def _check_encoded(
    feature: Feature, given: EncodedStrings, place: Place
) -> tuple[Column, Iterator[Fault]]:
    if feature.type not in (FeatureType.STRING, FeatureType.CATEGORY):
        return _NOTHING, iter([Fault(place, _expected(feature))])
    bad = _bad_strings(feature, np.array(given.values, object))
    # a value that no row has is no fault
    rows = np.flatnonzero(np.isin(given.codes, bad))[: MAX_FAULTS + 1] if bad else ()
    pairs = ((int(row), given.values[given.codes[row]]) for row in rows)
    return given, _value_faults(feature, pairs, place)


def _value_faults(
    feature: Feature, rows: Iterable[tuple[int, Any]], place: Place
) -> Iterator[Fault]:
    for row, value in rows:
        if message := feature.fault(value):
            yield Fault([*place, row], message)


def _expected(feature: Feature) -> str:
    """What a whole column of another type is told."""
    match feature.type:
        case FeatureType.NUMBER:
            return "must be a column of numbers"
        case FeatureType.INTEGER:
            return "must be a column of whole numbers"
        case FeatureType.BOOLEAN:
            return "must be a column of booleans"
        case _:
            return "must be a column of strings"
