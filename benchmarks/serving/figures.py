"""From turns to figures: medians, spreads, and ratios of turns of the same round."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Entry = Mapping[str, Any]
TIMES = " \N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Figure:
    """A median and what it lies between."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """The figure of one value a round."""
        return cls(float(np.median(values)), min(values), max(values))

    def text(self, form: str = ",.0f") -> str:
        """Median (lowest to highest)."""
        if self.low == self.high:
            return f"{self.median:{form}}"
        return f"{self.median:{form}} ({self.low:{form}} to {self.high:{form}})"


def rates(entry: Entry) -> list[float]:
    """Requests a second, round by round."""
    return [turn["requests"] / turn["seconds"] for turn in entry.get("many", [])]


def latencies_us(entry: Entry) -> list[float]:
    """p50 of one connection, round by round."""
    return [turn["p50_us"] for turn in entry.get("one", [])]


def p99s_us(entry: Entry) -> list[float]:
    """p99 with all connections, round by round."""
    return [turn["p99_us"] for turn in entry.get("many", [])]


def processor_us(entry: Entry) -> list[float]:
    """Processor time of a request with all connections, round by round."""
    return [value for value in entry.get("processor_us", []) if value > 0]


def others(entry: Entry) -> list[float]:
    """Share of one core that the rest of the machine used, turn by turn."""
    return list(entry.get("others", []))


def ratio(above: Sequence[float], below: Sequence[float]) -> Figure | None:
    """`above` over `below`, each round by itself; None where one was not measured."""
    pairs = list(zip(above, below, strict=False))
    return Figure.of([a / b for a, b in pairs]) if pairs else None


def best(
    entries: Mapping[str, Entry], chosen: Callable[[str, Entry], bool]
) -> tuple[str, Entry] | None:
    """The entry with the highest median rate among the chosen ones that have one."""
    rated = [(n, e) for n, e in entries.items() if chosen(n, e) and rates(e)]
    return max(rated, key=lambda item: float(np.median(rates(item[1]))), default=None)


def is_batching_peer(name: str, entry: Entry) -> bool:
    """Everybody but us, the limits, and mlflow, which does not batch."""
    return not entry.get("is_ours") and not entry.get("is_limit") and "mlflow models" not in name
