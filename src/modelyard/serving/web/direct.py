"""The short way to a prediction: a whole request in, its answer out, nothing in between.

Only what goes well goes this way: a known address, a body that keeps the contract, a model that
runs in this process, an answer. Everything else is declined, and the caller lets the ordinary way
(`predict.py`) answer it, which therefore words every refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.types import Scope

from modelyard.serving.problem import Headers, Problem
from modelyard.serving.protocols.body import RequestHeaders
from modelyard.serving.protocols.exchange import (
    INLINE_BODY_BYTES,
    Addresses,
    Encode,
    HttpResponse,
    ModelSpec,
    ModelSpecs,
    RequestFormat,
    WireProtocol,
)
from modelyard.serving.web.batcher import TickBatcher
from modelyard.serving.web.cross_origin import ORIGIN, CrossOrigin
from modelyard.serving.web.drain import Drain
from modelyard.serving.web.joining import Outcome
from modelyard.serving.web.ledger import Entry, Ledger
from modelyard.serving.web.outbox import Outbox, Reply
from modelyard.serving.web.unreadable import write_refusal

_OK = b"HTTP/1.1 200 OK\r\n"
_MOST_DIGITS = len(str(INLINE_BODY_BYTES))

Accepted = tuple[RequestFormat, Entry]
"""A request whose headers promise that it can go the short way."""


class DirectRoute:
    """Answers whole requests without the ASGI application; used from the event loop's thread only.

    Args:
        addresses: which protocol is spoken where.
        specs: what is served.
        batcher: scores; where it settles, it has to send what is in `outbox`.
        outbox: keeps answers until they are logged.
        ledger: books the requests.
        drain: whether clients should go elsewhere.
        cross_origin: whether what pages of other origins send is declined: their answers have
            headers of their own.
    """

    def __init__(
        self,
        addresses: Addresses,
        specs: ModelSpecs,
        batcher: TickBatcher,
        outbox: Outbox,
        ledger: Ledger,
        drain: Drain,
        cross_origin: CrossOrigin,
    ) -> None:
        self.drain = drain
        self._declines_pages = cross_origin.is_on
        self._addresses = addresses
        self._known = {
            path.encode(): (protocol, _scope(path)) for path, protocol in addresses.fixed.items()
        }
        self._specs = specs
        self._batcher = batcher
        self._outbox = outbox
        self._ledger = ledger
        self._head = b""
        self._head_of: tuple[Headers, Headers] = ([], [])

    def accept(self, url: bytes, headers: RequestHeaders) -> Accepted | None:
        """A POST with these headers, to be submitted when its body is there; None to decline it."""
        spec = self._specs.current()
        if spec is None or not spec.snapshot.runs_inline:
            return None
        if self._declines_pages and ORIGIN in headers:
            return None
        length = headers.get(b"content-length")
        if length is None or len(length) > _MOST_DIGITS or int(length) > INLINE_BODY_BYTES:
            return None
        address = self._known.get(url) or self._look_up(url)
        if address is None:
            return None
        protocol, scope = address
        try:
            request_format = protocol.format_of(scope, headers)
            request_format.body.check_announced(headers)
        except Problem:
            return None
        return request_format, self._ledger.begin(protocol.label, headers)

    def submit(
        self, accepted: Accepted, body: bytes, reply: Reply, is_over: Callable[[], bool]
    ) -> None:
        """Call `reply`, now or at the end of this tick; with None when the request is declined.

        A request that `is_over` at the end of this tick, for its client has gone, is not scored.
        """
        request_format, entry = accepted
        spec = self._specs.current()
        if spec is None or not spec.snapshot.runs_inline or not self._ledger.admit(entry):
            reply(None)
            return
        try:
            table, encode = request_format.read(spec, body)
        except Exception:  # noqa: BLE001 - the ordinary way words every refusal
            self._ledger.release(entry)
            reply(None)
            return
        end = partial(self._end, spec, encode, entry, body, reply)
        self._batcher.submit(spec.snapshot, table, end, is_over)

    def flush(self) -> None:
        """Reply to all that wait for the end of this tick."""
        self._batcher.flush()

    def refuse(self, problem: Problem, defaults: Headers) -> bytes:
        """The answer to bytes that are no request; it is booked."""
        return write_refusal(problem, defaults, self._ledger.unreadable(problem.status))

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
        reply: Reply,
        outcome: Outcome,
    ) -> None:
        """Answer; decline when there are no predictions, or they cannot be written or booked."""
        answer: HttpResponse | None = None
        if not isinstance(outcome, Exception):
            try:
                written = encode(spec, outcome)
                self._ledger.answered(entry, spec.snapshot, outcome, body, written[0])
                answer = written
            except Exception:  # noqa: BLE001, S110 - the ordinary way comes to the same, and says so
                pass
        if answer is None:
            self._ledger.release(entry)
        self._outbox.add(reply, answer)

    def _look_up(self, url: bytes) -> tuple[WireProtocol, Scope] | None:
        # what may be read in two ways is refused the ordinary way
        if b"%" in url or b"?" in url or b"//" in url or b"/." in url or not url.isascii():
            return None
        path = url.decode("ascii")
        protocol = self._addresses.at(path)
        return None if protocol is None else (protocol, _scope(path))


def _scope(path: str) -> Scope:
    """As much of an ASGI scope as a protocol looks at."""
    return {"type": "http", "method": "POST", "path": path}
