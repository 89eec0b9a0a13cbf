"""How much of it: a little in CI, everything with `make soak` (MODELYARD_SOAK=1)."""

from __future__ import annotations

import os

SOAK = os.environ.get("MODELYARD_SOAK") == "1"


def size(ci: int, soak: int) -> int:
    """The one that counts in this session."""
    return soak if SOAK else ci
