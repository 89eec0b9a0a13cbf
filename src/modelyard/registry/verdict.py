"""The gate's verdict as a model version carries it: tags that training writes and promotion reads.

A version without them was never judged: registered by another tool, or trained with
`promote: never`.
"""

from __future__ import annotations

from enum import StrEnum

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
