"""How many replicas the gateway has places for."""

from __future__ import annotations

import re
from pathlib import Path

from modelyard.host.rollout.replicas import SERVICE

DEFAULT_PLACES = 8
_PLACES = re.compile(rf"^\s*server-template\s+\S+\s+1-(\d+)\s+{SERVICE}:", re.MULTILINE)


def read_places(configuration: Path) -> int:
    """How many replicas the gateway has places for."""
    text = configuration.read_text(encoding="utf-8") if configuration.is_file() else ""
    return min(map(int, _PLACES.findall(text)), default=DEFAULT_PLACES)
