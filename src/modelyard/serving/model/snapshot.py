"""One loaded model version, whole and immutable: what a request reads once and keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from modelyard.contract import Contract
from modelyard.registry import ModelVersion
from modelyard.registry.fetch import Verification
from modelyard.scoring.bundle import ContractSource
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.scoring.runner import QueuedRunner, Runner
from modelyard.scoring.trial import TrialRow
from modelyard.serving.model.tenure import Tenure


@dataclass(frozen=True)
class Origin:
    """Where a version comes from, as its tags and its run say."""

    run_id: str = ""
    commit: str = ""
    data_version: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


class Usage:
    """How many requests hold a snapshot. Used from the event loop's thread only."""

    __slots__ = ("_count", "_on_idle")

    def __init__(self) -> None:
        self._count = 0
        self._on_idle: Callable[[], None] | None = None

    def enter(self) -> None:
        """One more request holds it."""
        self._count += 1

    def leave(self) -> None:
        """One request less holds it."""
        self._count -= 1
        self._end_when_idle()

    def retire(self, on_idle: Callable[[], None]) -> None:
        """Call `on_idle` once, as soon as no request holds it."""
        self._on_idle = on_idle
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        if self._count == 0 and self._on_idle is not None:
            on_idle, self._on_idle = self._on_idle, None
            on_idle()


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A model version with everything that answers a request."""

    version: ModelVersion
    contract: Contract
    contract_source: ContractSource
    origin: Origin
    verification: Verification
    runner: Runner
    decoder: RowDecoder
    loaded_at: datetime
    trial_row: TrialRow
    runs_inline: bool
    queued: QueuedRunner | None = None
    usage: Usage = field(default_factory=Usage)
    tenure: Tenure = field(default_factory=Tenure)
