"""Lossless casts, for protocols whose clients leave types to the model's signature."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from modelyard.contract import Feature, FeatureType
from modelyard.scoring.rows.columns import RawColumn, as_array
from modelyard.serving.protocols.tables import FEW_ROWS

_whole = re.compile(r"[+-]?\d{1,30}(\.0*)?").fullmatch
# no digit can belong to two parts of it: a refusal would try every way to share them out
_number = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,4})?").fullmatch
_TRUTHS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_EXACT = 2**53  # whole numbers up to here are exact as floats
_INEXACT = 10**400  # the JSON reader gives this for every longer whole number


def cast_values(feature: Feature, values: Sequence[Any]) -> RawColumn:
    """`values` in the feature's type where the cast loses nothing; the others as they are."""
    if len(values) <= FEW_ROWS:
        if not any(map(feature.fault, values)):
            return values
    elif (array := as_array(feature, values)) is not None:
        return array
    match feature.type:
        case FeatureType.NUMBER:
            return [float(v) if isinstance(v, str) and _number(v) else v for v in values]
        case FeatureType.INTEGER:
            return [_to_integer(value) for value in values]
        case FeatureType.BOOLEAN:
            return [_to_boolean(value) for value in values]
        case _:
            return [
                str(value) if type(value) is int and abs(value) < _INEXACT else value
                for value in values
            ]


def _to_integer(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if isinstance(value, str) and _whole(value):
        return int(value.partition(".")[0])
    return value


def _to_boolean(value: Any) -> Any:
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    return _TRUTHS.get(value, value) if isinstance(value, str) else value
