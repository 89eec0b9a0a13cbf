"""Before anything is measured: everybody answers, and answers the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.serving.contestants import Contestant
from benchmarks.serving.dialects import Row
from benchmarks.serving.network import exchange

TOLERANCE = 1e-5
_OK = 200


class DisagreementError(Exception):
    """A contestant gave no answer, or another one."""


def largest_difference(
    contestant: Contestant, port: int, rows: Sequence[Row], expected: np.ndarray
) -> float:
    """Ask each row alone; the largest difference from what the fitted model answers.

    Raises:
        DisagreementError: it is larger than the tolerance, or an answer is no 200.
    """
    largest = 0.0
    for row, wanted in zip(rows, expected, strict=True):
        status, _, body = exchange(port, contestant.dialect.request(port, [row]))
        if status != _OK:
            said = body[:300].decode(errors="replace")
            raise DisagreementError(f"{contestant.name} answered {status}: {said}")
        found = contestant.dialect.decode(body)
        if found.shape != (1,):
            raise DisagreementError(f"{contestant.name} answered one row with {found.shape}")
        largest = max(largest, abs(float(found[0]) - float(wanted)))
    if not contestant.is_limit and not largest <= TOLERANCE:
        raise DisagreementError(f"{contestant.name} differs by {largest:.2g}")
    return largest
