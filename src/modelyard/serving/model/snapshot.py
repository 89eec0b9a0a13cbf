"""One loaded model version, whole and immutable: what a request reads once and keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import msgspec
import numpy as np

from modelyard.contract import Contract
from modelyard.registry import ModelVersion
from modelyard.registry.fetch import Verification
from modelyard.scoring.bundle import ContractSource
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.scoring.runner import Predictions, QueuedRunner, Runner
from modelyard.serving.problem import Headers, Problem

_FEW = 256
"""Numbers up to which msgspec writes an answer."""


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from, as its tags and its run say."""

    run_id: str = ""
    commit: str = ""
    data_version: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


class Usage:
    """How many pieces of work hold a snapshot; all calls come from the event loop's thread."""

    __slots__ = ("_count", "_on_idle")

    def __init__(self) -> None:
        self._count = 0
        self._on_idle: Callable[[], None] | None = None

    def enter(self) -> None:
        """One more holds it."""
        self._count += 1

    def leave(self) -> None:
        """One less holds it; the last one of a retired snapshot ends it."""
        self._count -= 1
        self._end_when_idle()

    def retire(self, on_idle: Callable[[], None]) -> None:
        """Call `on_idle` once, as soon as nobody holds it."""
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
    lineage: Lineage
    verification: Verification
    runner: Runner
    decoder: RowDecoder
    loaded_at: datetime
    example_tried: bool
    runs_inline: bool
    queued: QueuedRunner | None = None
    usage: Usage = field(default_factory=Usage)

    @cached_property
    def version_header(self) -> tuple[bytes, bytes]:
        """The header that tells a client which version answered."""
        return (b"x-model-version", self.version.version.encode("latin-1"))

    @cached_property
    def answer_headers(self) -> Headers:
        """Headers that every prediction has."""
        return [(b"content-type", b"application/json"), self.version_header]

    @cached_property
    def _answer_end(self) -> bytes:
        model = {"name": self.version.name, "version": self.version.version}
        return b',"model":' + msgspec.json.encode(model) + b"}"

    def check_finite(self, predictions: Predictions) -> None:
        """Refuse predictions that are no numbers with the 422 `Problem` that names the rows."""
        if not np.isfinite(predictions).all():
            raise _without_answer(predictions)

    def encode(self, predictions: Predictions) -> bytes:
        """The body of the answer that gives `predictions`.

        Raises:
            Problem: 422 naming the rows for which the model has no finite answer.
        """
        if predictions.size > _FEW and predictions.dtype.kind == "f":
            self.check_finite(predictions)
            numbers = _write_many(predictions)
        else:
            numbers = msgspec.json.encode(predictions.tolist())
            if b"null" in numbers:  # how NaN and infinities are written; nothing else is
                raise _without_answer(predictions)
        return b"".join((b'{"prediction":', numbers, self._answer_end))


def _write_many(predictions: Predictions) -> bytes:
    """Floats as JSON, in a third of the time that msgspec takes for many of them.

    orjson is imported when many are first written, so that a start does not wait for it. They are
    written as float64, as few of them are: a row's answer has the same digits in every request.
    """
    import orjson

    wide = np.ascontiguousarray(predictions, dtype=np.float64)
    return orjson.dumps(wide, option=orjson.OPT_SERIALIZE_NUMPY)


def _without_answer(predictions: Predictions) -> Problem:
    finite = np.isfinite(predictions.reshape(len(predictions), -1)).all(axis=1)
    rows = np.flatnonzero(~finite)[:200].tolist()
    message = "the model has no finite answer for this row"
    return Problem(
        "no-finite-answer",
        422,
        "The model has no answer for this input",
        "The input keeps the contract, and the model's answer is not a finite number.",
        errors=[{"loc": ["body", row], "msg": message} for row in rows],
    )
