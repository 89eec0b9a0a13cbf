"""What was tried in a session, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from support.fuzz.framing import Answer


@dataclass
class Figures:
    """What was tried, and what came of it."""

    cases: int = 0
    requests: int = 0
    neighbours: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    own: Counter[int] = field(default_factory=Counter)
    """Those of the application, which have an id."""
    unanswered: int = 0

    def add(self, asked: int, answers: list[Answer], unanswered: int) -> None:
        """One connection."""
        self.cases += 1
        self.requests += asked
        self.unanswered += unanswered
        self.answers.update(answer.status for answer in answers)
        self.own.update(answer.status for answer in answers if b"x-request-id" in answer.heads)

    def __str__(self) -> str:
        statuses = ", ".join(f"{status}: {n}" for status, n in sorted(self.answers.items()))
        return (
            f"{self.cases} connections, {self.requests} requests ({statuses}; {self.unanswered} "
            f"without an answer where a connection ended), {self.neighbours} of neighbours"
        )
