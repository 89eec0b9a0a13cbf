"""One HTTP connection: uvicorn's own, with a short way for predictions.

Most of what a prediction costs in an ASGI server is not the prediction: a scope, a task, an event
and three messages a request cost more than decoding, scoring and encoding together. A request that
arrives whole in one read needs none of them: it is handed to `DirectRoute` when its last byte is
parsed, and its answer is written with one call. httptools parses every request, and whatever is
unusual (no body yet, `Expect`, HTTP/1.0, a header that came twice, a request before it still under
way, a prediction that cannot be made) goes uvicorn's way, as if this class were not there.

Written against uvicorn's HttpToolsProtocol; the lock pins the version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from modelyard.serving.problem import Problem
from modelyard.serving.protocols.exchange import HttpResponse
from modelyard.serving.web.direct import Accepted, DirectRoute
from modelyard.serving.web.guarded import GuardedProtocol
from modelyard.serving.web.predict import ABANDON

_HIGH_WATER_BYTES = 1024 * 1024
"""What may wait for the application. Uvicorn's own 64 KiB pause the reading of a large body, and
start it again, with every read."""
_KEPT = b"content-length: "
_CLOSED = b"connection: close\r\ncontent-length: "
_ABOUT_THE_SERVER = b"*", b"/*"
"""The target of `OPTIONS *`, and the path that it gets in the scope."""


class Connection(GuardedProtocol):
    """Uvicorn's connection, with the short way of `DirectRoute` in front of it.

    Args:
        direct: answers what goes the short way.
        max_connections: of the whole server at once.
        arguments: uvicorn's own.
    """

    def __init__(self, direct: DirectRoute, max_connections: int, **arguments: Any) -> None:
        super().__init__(max_connections, **arguments)
        self._direct = direct
        self._accepted: Accepted | None = None
        self._body = b""
        self._keeps_alive = True
        self._is_waiting = False

    # -- called by the parser ---------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins; one before it that still waits is answered first."""
        self._answer_waiting()
        self._is_in_head = True
        # uvicorn's scope is made when it turns out that it is needed
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; it is read when all of them are there."""
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Choose the way that the request takes."""
        parser, headers = self.parser, dict(self.headers)
        self._is_in_head = False
        if self._head_timer is not None:
            self._forget_head()
        if parser.should_upgrade():
            self._plain_head = self._without_upgrade()
            return
        if expect := headers.get(b"expect"):
            is_known = parser.get_http_version() != "1.0"  # which has no interim answers
            self.expect_100_continue = is_known and expect.lower() == b"100-continue"
        if (
            not self.expect_100_continue
            and len(headers) == len(self.headers)
            and (self.cycle is None or self.cycle.response_complete)
            and parser.get_method() == b"POST"
            and parser.get_http_version() == "1.1"
            and not self.flow.write_paused
        ):
            self._accepted = self._direct.accept(self.url, headers)
            if self._accepted is not None:
                self._body = b""
                self._keeps_alive = parser.should_keep_alive() and not self._direct.drain.is_on
                return
        self._begin_cycle()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._accepted is not None:
            self._body += body
        elif not self.cycle.response_complete:
            self.cycle.body += body
            if len(self.cycle.body) > _HIGH_WATER_BYTES:
                self.flow.pause_reading()
            self.cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._plain_head is not None:
            return  # its head is read again, and then its body
        if self._accepted is None:
            super().on_message_complete()
        else:
            self._is_waiting = True
            is_over = self.transport.is_closing
            self._direct.submit(self._accepted, self._body, self._reply, is_over)

    # -- called by the transport and the server ----------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse; a request that did not come whole goes uvicorn's way."""
        super().data_received(data)
        is_part = self._accepted is not None and not self._is_waiting
        if is_part and not self.transport.is_closing():
            self._decline(is_whole=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone: nobody waits for the prediction that is under way."""
        super().connection_lost(exc)
        cycle = self.cycle
        if cycle is not None and cycle.disconnected:
            abandon: Callable[[], None] | None = cycle.scope.get(ABANDON)  # type: ignore[assignment]  # no key of ASGI's
            if abandon is not None:
                abandon()

    def shutdown(self) -> None:
        """The server stops: answer what waits."""
        self._answer_waiting()
        super().shutdown()

    def _refusal_of(self, problem: Problem) -> bytes:
        return self._direct.refuse(problem, self.server_state.default_headers)

    # -- answers -----------------------------------------------------------------------------------

    def _answer_waiting(self) -> None:
        if self._is_waiting:
            self._direct.flush()

    def _reply(self, answer: HttpResponse | None) -> None:
        self._is_waiting = False
        try:
            if self.transport.is_closing() or self.parser is None:
                self._accepted = None  # the client has gone
            elif answer is None:
                self._decline(is_whole=True)
            else:
                self._write(answer)
        except Exception:
            self.transport.abort()  # or the client would wait for an answer that never comes
            raise

    def _write(self, answer: HttpResponse) -> None:
        accepted, self._accepted = self._accepted, None
        assert accepted is not None  # or there would be nothing to answer
        body, headers = answer
        parts = [self._direct.head(self.server_state.default_headers, headers)]
        for name, value in accepted[1].id_headers:
            parts += (name, b": ", value, b"\r\n")
        parts.append(_KEPT if self._keeps_alive else _CLOSED)
        parts.append(b"%d\r\n\r\n" % len(body))
        parts.append(body)
        self.transport.write(b"".join(parts))
        self.server_state.total_requests += 1
        if self._keeps_alive:
            self._idle_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._close_after(self.timeout_keep_alive)
        else:
            self.transport.close()

    def _decline(self, *, is_whole: bool) -> None:
        """Go uvicorn's way with what has come so far."""
        self._accepted = None
        self._begin_cycle()
        self.cycle.keep_alive = self._keeps_alive
        if self._body:
            self.cycle.body += self._body
            self.cycle.message_event.set()
        if is_whole:
            super().on_message_complete()

    def _begin_cycle(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        is_about_the_server = url == _ABOUT_THE_SERVER[0]
        super().on_message_begin()
        self.url = _ABOUT_THE_SERVER[1] if is_about_the_server else url
        self.headers += headers  # the list that is in the scope
        self.expect_100_continue = expects
        super().on_headers_complete()
        if b"#" in url:  # which the parser takes out of the path
            self.scope["raw_path"] += b"#"
        if self._direct.drain.is_on:
            self.cycle.keep_alive = False
