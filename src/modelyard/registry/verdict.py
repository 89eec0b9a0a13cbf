"""The gate's verdict as tags of a model version: training writes them, promotion reads them.

A version without them was never judged: it was registered by another tool, or trained with
`promote: never`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic_core import from_json

VERDICT_TAG = "modelyard.gate"
SENTENCE_TAG = "modelyard.gate.sentence"
CHAMPION_TAG = "modelyard.gate.champion"
NUMBERS_TAG = "modelyard.gate.numbers"
NO_CHAMPION = "none"
"""The champion's tag when there was no champion; MLflow drops empty values."""


class VerdictWord(StrEnum):
    """The values of the tag `modelyard.gate`."""

    PASSED = "passed"
    REFUSED = "refused"


def numbers_of(tags: Mapping[str, str]) -> dict[str, Any]:
    """The gate's numbers in a version's tags; empty where the tag is not what training writes."""
    try:
        value = from_json(tags.get(NUMBERS_TAG, "{}"), allow_inf_nan=False)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
