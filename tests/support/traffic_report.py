"""What traffic met: every request by phase, and how long it took to be well again."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

STEADY = "steady"
"""The phase at the start and between what is marked."""

SLOW = 3.0
"""A request is slow when it takes this many times as long as the p99 of the steady phase."""

_MS = 1000.0


@dataclass(frozen=True)
class Asked:
    """One request: when it was due and answered, in seconds since the start."""

    due: float
    answered: float
    version: str
    fault: str

    @property
    def seconds(self) -> float:
        """From the moment it was due."""
        return self.answered - self.due


@dataclass(frozen=True)
class Phase:
    """The requests that fell due in a phase, all its turns together."""

    name: str
    turns: int
    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    recovery_s: float
    """The longest that a turn took, from its mark to its last request that failed or was slow."""
    faults: Mapping[str, int]

    def as_text(self) -> str:
        """One line, and one for each kind of failure."""
        line = (
            f"{self.name:<12} {self.requests:>6} requests {self.failed:>4} failed   "
            f"p50 {self.p50_ms:.1f}  p99 {self.p99_ms:.1f}  p99.9 {self.p999_ms:.1f}  "
            f"max {self.max_ms:.1f} ms   recovered in {self.recovery_s:.1f} s"
        )
        return "\n".join([line, *(f"    {n} x {fault}" for fault, n in self.faults.items())])


@dataclass(frozen=True)
class Seen:
    """The good answers of one version: how many, and seconds since the start."""

    answers: int
    first: float
    last: float


@dataclass(frozen=True)
class Report:
    """Every phase in the order of its first turn, and every version that answered."""

    phases: Sequence[Phase]
    versions: Mapping[str, Seen]

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(phase.requests for phase in self.phases)

    @property
    def failed(self) -> int:
        """Those without a good answer."""
        return sum(phase.failed for phase in self.phases)

    def phase(self, name: str) -> Phase:
        """One of them, by its name."""
        return next(phase for phase in self.phases if phase.name == name)

    def overlap_s(self, old: str, new: str) -> float:
        """Seconds from the first answer of `new` to the last one of `old`; 0 when none."""
        return max(0.0, self.versions[old].last - self.versions[new].first)

    def as_text(self) -> str:
        """A line a phase, one for the versions."""
        seen = ", ".join(f"{version}: {seen.answers}" for version, seen in self.versions.items())
        return "\n".join([*(phase.as_text() for phase in self.phases), f"by version  {seen}"])

    def as_json(self) -> dict[str, Any]:
        """The same, whole."""
        return {"requests": self.requests, "failed": self.failed, **asdict(self)}


@dataclass
class Record:
    """Every request and every mark; written from one thread, read from another."""

    _asked: list[Asked] = field(default_factory=list)
    _marks: list[tuple[float, str]] = field(default_factory=list)
    _started: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """The clock starts."""
        self._started = perf_counter()
        self._marks.append((0.0, STEADY))

    def now(self) -> float:
        """Seconds since the start."""
        return perf_counter() - self._started

    def mark(self, phase: str) -> None:
        """A turn of `phase` begins."""
        with self._lock:
            self._marks.append((self.now(), phase))

    def add(self, due: float, version: str, fault: str) -> None:
        """A request was answered now, or failed."""
        asked = Asked(due, self.now(), version, fault)
        with self._lock:
            self._asked.append(asked)

    def versions(self) -> list[str]:
        """Of the good answers, in the order in which they came."""
        with self._lock:
            return [asked.version for asked in self._asked if not asked.fault]

    def failures(self) -> list[str]:
        """Of the others."""
        with self._lock:
            return [asked.fault for asked in self._asked if asked.fault]

    def report(self) -> Report:
        """What came of all that so far."""
        with self._lock:
            asked, marks = list(self._asked), list(self._marks)
        starts = [start for start, _ in marks]
        turns: list[list[Asked]] = [[] for _ in marks]
        for one in asked:
            turns[max(0, bisect_right(starts, one.due) - 1)].append(one)
        steady = [
            one for turn, (_, n) in zip(turns, marks, strict=True) if n == STEADY for one in turn
        ]
        slow_s = SLOW * _percentile(steady, 99) / _MS
        names = dict.fromkeys(name for _, name in marks)
        phases = [
            _phase(
                name, [(s, t) for t, (s, n) in zip(turns, marks, strict=True) if n == name], slow_s
            )
            for name in names
        ]
        return Report([phase for phase in phases if phase.requests], _seen(asked))


def _phase(name: str, turns: Sequence[tuple[float, list[Asked]]], slow_s: float) -> Phase:
    asked = [one for _, turn in turns for one in turn]
    faults = Counter(one.fault for one in asked if one.fault)
    recovery = [
        one.answered - start
        for start, turn in turns
        for one in turn
        if one.fault or one.seconds > slow_s
    ]
    return Phase(
        name=name,
        turns=len(turns),
        requests=len(asked),
        failed=faults.total(),
        p50_ms=_percentile(asked, 50),
        p99_ms=_percentile(asked, 99),
        p999_ms=_percentile(asked, 99.9),
        max_ms=_percentile(asked, 100),
        recovery_s=0.0 if name == STEADY else max(recovery, default=0.0),
        faults=dict(faults),
    )


def _percentile(asked: Sequence[Asked], share: float) -> float:
    """In milliseconds; failures count with the time that they took."""
    return float(np.percentile([one.seconds for one in asked], share)) * _MS if asked else 0.0


def _seen(asked: Sequence[Asked]) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    for one in sorted(asked, key=lambda one: one.answered):
        if one.fault:
            continue
        before = found.get(one.version)
        first = before.first if before else one.answered
        found[one.version] = Seen(before.answers + 1 if before else 1, first, one.answered)
    return found
