"""What a protocol is to the server: ways to ask, one way to be refused.

A protocol translates, and nothing else: bytes to a table that keeps the contract, predictions to
bytes, a `Problem` to its own words. `predict.py` does the rest, the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from starlette.types import Scope

from modelyard.contract import Contract
from modelyard.scoring.rows.decoder import ColumnsDecoder, RowDecoder, Table
from modelyard.scoring.runner import Predictions
from modelyard.serving.limits import Limits
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.problem import Headers
from modelyard.serving.protocols.body import BodyReader, RequestHeaders
from modelyard.serving.protocols.wording import Render

HttpResponse = tuple[bytes, Headers]
Encode = Callable[[Snapshot, Predictions], HttpResponse]
LARGE_BODY_BYTES = 64 * 1024
"""Larger bodies come in several reads, and are worth a thread."""


@dataclass(frozen=True, eq=False)
class InputSpec:
    """What a snapshot takes, within this server's limits: its contract and compiled decoders."""

    snapshot: Snapshot
    contract: Contract
    decoder: RowDecoder
    limits: Limits

    @classmethod
    def of(cls, snapshot: Snapshot, limits: Limits) -> InputSpec:
        """The spec of `snapshot`; no string of it is longer than the limit."""
        longest = limits.max_string_length
        contract, decoder = snapshot.contract, snapshot.decoder
        if any(feature.max_length > longest for feature in contract.features):
            features = tuple(
                f.model_copy(update={"max_length": min(f.max_length, longest)})
                for f in contract.features
            )
            contract = contract.model_copy(update={"features": features})
            decoder = RowDecoder(contract)
        return cls(snapshot, contract, decoder, limits)

    @cached_property
    def columns_decoder(self) -> ColumnsDecoder:
        """For columnar JSON; made when it is first asked for."""
        return ColumnsDecoder(self.contract)


class InputSpecs:
    """The spec of the snapshot that was asked about last; there is hardly ever another one."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._last: InputSpec | None = None

    def of(self, snapshot: Snapshot) -> InputSpec:
        """The spec of `snapshot`."""
        last = self._last
        if last is None or last.snapshot is not snapshot:
            self._last = last = InputSpec.of(snapshot, self.limits)
        return last


class RequestFormat(Protocol):
    """One way to ask: which bodies it takes, what they mean, how the answer is written."""

    @property
    def body(self) -> BodyReader:
        """Reads its bodies."""

    def read(self, spec: InputSpec, body: bytes) -> tuple[Table, Encode]:
        """What is asked, and how the answer is to be written.

        Raises:
            Problem: what is wrong with the body.
        """


class WireProtocol(Protocol):
    """A set of forms behind one address."""

    @property
    def label(self) -> str:
        """The address, for metrics and logs."""

    def format_of(self, scope: Scope, headers: RequestHeaders) -> RequestFormat:
        """The form of a request; raises the Problem when its method or headers fit none."""

    @property
    def render(self) -> Render:
        """How its refusals are said."""


class Addresses:
    """Which protocol is spoken where.

    Args:
        fixed: those of one path, which is their label.
        match: the protocol at any other path, or None.
    """

    def __init__(
        self, fixed: Iterable[WireProtocol], match: Callable[[str], WireProtocol | None]
    ) -> None:
        self.fixed = {protocol.label: protocol for protocol in fixed}
        self._match = match

    def at(self, path: str) -> WireProtocol | None:
        """The protocol at `path`; None where no predictions are answered."""
        return self.fixed.get(path) or self._match(path)
