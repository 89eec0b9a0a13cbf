"""The gate's verdict as a model version carries it: tags that training writes and promotion reads.

A version without them was never judged: registered by another tool, or trained with
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
"""What the champion's tag says when there was none; MLflow drops empty values."""


class VerdictWord(StrEnum):
    """What the tag `modelyard.gate` says."""

    PASSED = "passed"
    REFUSED = "refused"


def numbers_of(tags: Mapping[str, str]) -> dict[str, Any]:
    """The gate's numbers among a version's tags; none where they are not what training writes."""
    try:
        value = from_json(tags.get(NUMBERS_TAG, "{}"), allow_inf_nan=False)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
