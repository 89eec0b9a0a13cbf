"""What the server asks of a protocol: it reads requests, writes answers and words refusals.

A protocol only translates: bytes to a table that keeps the contract, predictions to bytes, a
`Problem` to its own words. `predict.py` does the rest, which is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import msgspec
from starlette.types import Scope

from modelyard.contract import Contract
from modelyard.scoring.rows.decoder import ColumnsDecoder, RowDecoder, Table
from modelyard.scoring.runner import Predictions
from modelyard.serving.limits import Limits
from modelyard.serving.model.holder import Holder
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.problem import Headers
from modelyard.serving.protocols.body import JSON, BodyReader, RequestHeaders
from modelyard.serving.protocols.wording import Render

HttpResponse = tuple[bytes, Headers]
"""Body and headers of an answer with status 200."""
VERSION_HEADER = b"x-model-version"
INLINE_BODY_BYTES = 16 * 1024
"""Larger bodies are read in a thread. What is slowest to read or to refuse of all that is not takes
less than 5 ms, for which everybody else waits."""
LARGE_BODY_BYTES = 64 * 1024
"""Larger bodies come in several reads."""


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """A snapshot as clients see it: what it takes within this server's limits, what names it.

    Args:
        snapshot: the loaded version.
        contract: its own; no string is longer than the server's limit.
        decoder: compiled from `contract`.
        limits: the server's.
        version_header: the header that tells a client which version answered.
        json_headers: the headers of an answer in JSON; always the same list.
        model_json: name and version as a JSON object.
    """

    snapshot: Snapshot
    contract: Contract
    decoder: RowDecoder
    limits: Limits
    version_header: tuple[bytes, bytes]
    json_headers: Headers
    model_json: bytes

    @classmethod
    def of(cls, snapshot: Snapshot, limits: Limits) -> ModelSpec:
        """The spec of `snapshot`."""
        longest = limits.max_string_length
        contract, decoder = snapshot.contract, snapshot.decoder
        if any(feature.max_length > longest for feature in contract.features):
            features = tuple(
                f.model_copy(update={"max_length": min(f.max_length, longest)})
                for f in contract.features
            )
            contract = contract.model_copy(update={"features": features})
            decoder = RowDecoder(contract)
        version = snapshot.version
        version_header = (VERSION_HEADER, version.version.encode("latin-1"))
        json_headers = [(b"content-type", JSON), version_header]
        model_json = msgspec.json.encode({"name": version.name, "version": version.version})
        return cls(snapshot, contract, decoder, limits, version_header, json_headers, model_json)

    @cached_property
    def columns_decoder(self) -> ColumnsDecoder:
        """For columnar JSON; made when it is first asked for."""
        return ColumnsDecoder(self.contract)


class ModelSpecs:
    """The spec of what is served, made once for each snapshot.

    Args:
        holder: has what is served.
        limits: the server's.
    """

    def __init__(self, holder: Holder, limits: Limits) -> None:
        self.limits = limits
        self._holder = holder
        self._last: ModelSpec | None = None

    def current(self) -> ModelSpec | None:
        """The spec of what is served now; None while nothing is."""
        snapshot, last = self._holder.snapshot, self._last
        if snapshot is None:
            return None
        if last is None or last.snapshot is not snapshot:
            self._last = last = ModelSpec.of(snapshot, self.limits)
        return last


Encode = Callable[[ModelSpec, Predictions], HttpResponse]
"""Writes an answer; raises the 422 `Problem` for predictions that are not finite."""


class RequestFormat(Protocol):
    """One way to send rows: how its bodies are read, and how the answer is written."""

    @property
    def body(self) -> BodyReader:
        """Reads its bodies."""

    def read(self, spec: ModelSpec, body: bytes) -> tuple[Table, Encode]:
        """The rows or columns in `body`, and how to write the answer.

        Raises:
            Problem: the body cannot be read, or has too many rows.
            RowsRefusedError: names each fault of the rows.
        """


class WireProtocol(Protocol):
    """The request formats of one address."""

    @property
    def label(self) -> str:
        """The address, for metrics and logs."""

    def format_of(self, scope: Scope, headers: RequestHeaders) -> RequestFormat:
        """The format of a request.

        Raises:
            Problem: 405 or 415 when the method or the headers fit none, 400 for a broken header.
        """

    @property
    def render(self) -> Render:
        """How its refusals are written."""


class Addresses:
    """Which protocol answers at which path.

    Args:
        fixed: protocols with a single path, which is their label.
        match: the protocol at any other path, or None.
    """

    def __init__(
        self, fixed: Iterable[WireProtocol], match: Callable[[str], WireProtocol | None]
    ) -> None:
        self.fixed = {protocol.label: protocol for protocol in fixed}
        self._match = match

    def at(self, path: str) -> WireProtocol | None:
        """The protocol at `path`; None where there are no predictions."""
        return self.fixed.get(path) or self._match(path)
