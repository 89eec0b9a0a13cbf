"""The short way to a prediction: a whole request in, its answer out, nothing in between.

Only what goes well goes this way: a known address, a body that keeps the contract, a model that
runs in this process, an answer. Everything else is declined, and the caller lets the ordinary way
(`predict.py`) answer it, which therefore words every refusal.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter

from starlette.types import Scope

from modelyard.scoring.runner import Predictions
from modelyard.serving.model.holder import Holder
from modelyard.serving.problem import Headers, Problem
from modelyard.serving.protocols.body import RequestHeaders
from modelyard.serving.protocols.exchange import (
    LARGE_BODY_BYTES,
    Addresses,
    Encode,
    ModelSpec,
    ModelSpecs,
    RequestFormat,
    WireProtocol,
)
from modelyard.serving.web.batcher import TickBatcher
from modelyard.serving.web.drain import Drain
from modelyard.serving.web.metrics import ServingMetrics
from modelyard.serving.web.outbox import Outbox, Reply
from modelyard.serving.web.recorder import Recorder
from modelyard.serving.web.request_id import Marks, RequestIds

_OK = b"HTTP/1.1 200 OK\r\n"


class Entry:
    """A request whose headers promise that it can go the short way."""

    __slots__ = ("form", "label", "marks")

    def __init__(self, form: RequestFormat, label: str, marks: Marks) -> None:
        self.form = form
        self.label = label
        self.marks = marks


class DirectRoute:
    """See above; used from the event loop's thread only.

    Args:
        addresses: which protocol is spoken where.
        holder: what is served.
        specs: what a snapshot takes.
        batcher: scores; where it settles, it has to send what is in `outbox`.
        outbox: keeps answers until they are logged.
        metrics: counts.
        recorder: logs.
        ids: names the requests.
        drain: whether clients should go elsewhere.
    """

    def __init__(
        self,
        addresses: Addresses,
        holder: Holder,
        specs: ModelSpecs,
        batcher: TickBatcher,
        outbox: Outbox,
        metrics: ServingMetrics,
        recorder: Recorder,
        ids: RequestIds,
        drain: Drain,
    ) -> None:
        self.drain = drain
        self._addresses = addresses
        self._known = {
            path.encode(): (protocol, _scope(path)) for path, protocol in addresses.fixed.items()
        }
        self._holder = holder
        self._specs = specs
        self._max_concurrency = specs.limits.max_concurrency
        self._batcher = batcher
        self._outbox = outbox
        self._metrics = metrics
        self._recorder = recorder
        self._ids = ids
        self._head = b""
        self._head_of: tuple[Headers, Headers] = ([], [])

    def enter(self, url: bytes, heads: RequestHeaders) -> Entry | None:
        """What is known of a POST with these headers; None when it is declined."""
        snapshot = self._holder.snapshot
        if snapshot is None or not snapshot.runs_inline:
            return None
        length = heads.get(b"content-length")
        if length is None or int(length) > LARGE_BODY_BYTES:
            return None
        address = self._known.get(url) or self._look_up(url)
        if address is None:
            return None
        protocol, scope = address
        try:
            form = protocol.format_of(scope, heads)
            form.body.check_announced(heads)
        except Problem:
            return None
        return Entry(form, protocol.label, self._ids.marks(heads))

    def submit(self, entry: Entry, body: bytes, reply: Reply) -> None:
        """Call `reply`, now or at the end of this tick."""
        started = perf_counter()
        snapshot, metrics = self._holder.snapshot, self._metrics
        if (
            snapshot is None
            or not snapshot.runs_inline
            or metrics.in_flight >= self._max_concurrency
        ):
            reply(None)
            return
        try:
            spec = self._specs.of(snapshot)
            table, encode = entry.form.read(spec, body)
        except Exception:  # noqa: BLE001 - whatever is wrong is said on the ordinary way
            reply(None)
            return
        metrics.in_flight += 1
        end = partial(self._end, spec, encode, entry, body, started, reply)
        self._batcher.submit(snapshot, table, end)

    def flush(self) -> None:
        """Reply to all that wait for the end of this tick."""
        self._batcher.flush()

    def head(self, defaults: Headers, headers: Headers) -> bytes:
        """Status line and headers that an answer shares with the one before it, as a rule."""
        if defaults is not self._head_of[0] or headers is not self._head_of[1]:
            lines = (name + b": " + value + b"\r\n" for name, value in (*defaults, *headers))
            self._head = b"".join((_OK, *lines))
            self._head_of = (defaults, headers)
        return self._head

    def _end(
        self,
        spec: ModelSpec,
        encode: Encode,
        entry: Entry,
        body: bytes,
        started: float,
        reply: Reply,
        predictions: Predictions | Exception,
    ) -> None:
        """Answer with `predictions`; decline when there are none that can be written."""
        metrics = self._metrics
        metrics.in_flight -= 1
        if isinstance(predictions, Exception):
            self._outbox.add(reply, None)
            return
        try:
            answer = encode(spec, predictions)
        except Exception:  # noqa: BLE001 - the ordinary way comes to the same, and says so
            self._outbox.add(reply, None)
            return
        metrics.prediction(entry.label, 200, perf_counter() - started)
        metrics.scores.add(spec.snapshot, predictions)
        self._recorder.add(
            spec.snapshot, entry.label, entry.marks, len(predictions), body, answer[0]
        )
        self._outbox.add(reply, answer)

    def _look_up(self, url: bytes) -> tuple[WireProtocol, Scope] | None:
        if b"%" in url or b"?" in url or not url.isascii():
            return None
        path = url.decode("ascii")
        protocol = self._addresses.at(path)
        return None if protocol is None else (protocol, _scope(path))


def _scope(path: str) -> Scope:
    """As much of an ASGI scope as a protocol looks at."""
    return {"type": "http", "method": "POST", "path": path}
