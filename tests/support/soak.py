"""How much of it: a little in CI, everything with `make soak` (MODELYARD_SOAK=1)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

SOAK = os.environ.get("MODELYARD_SOAK") == "1"
ROW = "fault"
"""Name of the test property that holds a row of the table; it passes through xdist and JUnit."""


def size(ci: int, soak: int) -> int:
    """The one that counts in this session."""
    return soak if SOAK else ci


@dataclass(frozen=True)
class FaultRow:
    """What came of one fault.

    Attributes:
        fault: what was broken.
        times: how often.
        lost: acknowledged things, or requests, that were lost.
        of: what could have been lost, with its number.
        recoveries_s: from each fault to the moment when all was well again; empty where nothing
            had to recover.
        held: what held all the while.
    """

    fault: str
    times: int
    lost: int
    of: str
    recoveries_s: Sequence[float] = ()
    held: str = ""

    def to_json(self) -> str:
        """For a test property."""
        return json.dumps(asdict(self))


def table(texts: Iterable[str]) -> list[str]:
    """The rows as lines of Markdown."""
    lines = [
        "| fault | times | lost | of | recovery p50 / p95 / max | verdict |",
        "|---|---|---|---|---|---|",
    ]
    for text in texts:
        row = FaultRow(**json.loads(text))
        seconds = sorted(row.recoveries_s)
        recovery = (
            " / ".join(f"{at(seconds, share):.1f}" for share in (0.5, 0.95, 1.0)) + " s"
            if seconds
            else "nothing to recover"
        )
        verdict = "held" if row.lost == 0 else "LOST"
        verdict += f": {row.held}" if row.held else ""
        lines.append(
            f"| {row.fault} | {row.times} | {row.lost} | {row.of} | {recovery} | {verdict} |"
        )
    return lines


def at(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of the ordered values lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
