"""A failing case, made smaller as long as it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from support.fuzz.case import Case

_MOST_TRIES = 3000


def minimise(case: Case, fails: Callable[[Case], bool]) -> Case:
    """The smallest case that was found: without cuts, with an ordinary end, with fewer bytes."""
    tries = 0

    def still(candidate: Case) -> bool:
        nonlocal tries
        tries += 1
        return tries <= _MOST_TRIES and candidate != case and fails(candidate)

    for simpler in (
        replace(case, cuts=()),
        replace(case, end="eof"),
        replace(case, cuts=(), end="eof"),
    ):
        if still(simpler):
            case = simpler
    for cut in case.cuts:
        fewer = replace(case, cuts=tuple(other for other in case.cuts if other != cut))
        if still(fewer):
            case = fewer
    size = max(1, len(case.stream) // 2)
    while size and tries <= _MOST_TRIES:
        at = 0
        while at < len(case.stream):
            shorter = _without(case, at, at + size)
            if still(shorter):
                case = shorter
            else:
                at += size
        size //= 2
    return case


def _without(case: Case, start: int, end: int) -> Case:
    """Without some bytes; the cuts behind them move along."""
    cuts = {cut if cut <= start else max(start, cut - (end - start)) for cut in case.cuts}
    stream = case.stream[:start] + case.stream[end:]
    return replace(case, stream=stream, cuts=tuple(sorted(cuts)))
