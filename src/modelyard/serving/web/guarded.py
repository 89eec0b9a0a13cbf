"""Uvicorn's connection, with what uvicorn leaves open closed.

A request that asks for another protocol is answered as if it had not asked: a server may ignore
that (RFC 9110, 7.8), and Java's client asks with its first POST. What is no HTTP is refused with a
problem document, after the answers to what came before it. A head has to come within a time and a
size, and a connection on which nothing comes is closed.

Written against uvicorn's HttpToolsProtocol; the lock pins the version.
"""

from __future__ import annotations

import heapq
from abc import abstractmethod
from asyncio import TimerHandle, Transport
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from modelyard.serving.problem import Problem
from modelyard.serving.web.unreadable import (
    HEAD_TIMEOUT_S,
    MAX_HEAD_BYTES,
    long_head,
    not_http,
    slow_head,
)

_SHARE_AT_ONCE = 16
_UPGRADES = frozenset({b"upgrade", b"http2-settings"})


class GuardedProtocol(HttpToolsProtocol):
    """A connection that waits for nobody for good; `Connection` chooses the ways of requests.

    Args:
        max_connections: of the whole server at once; beyond it those go that were idle the longest.
        arguments: uvicorn's own.
    """

    def __init__(self, max_connections: int, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._max_connections = max_connections
        self._idle_since: float | None = None
        self._is_in_head = False
        self._head_bytes = 0
        self._head_since = 0.0
        self._head_timer: TimerHandle | None = None
        self._plain_head: bytes | None = None
        self._refusal: bytes | None = None
        self._running: RequestResponseCycle = None  # type: ignore[assignment]  # as uvicorn's own

    @abstractmethod
    def _refusal_of(self, problem: Problem) -> bytes:
        """The answer to bytes that are no request."""

    @abstractmethod
    def _answer_waiting(self) -> None:
        """Answer what is whole and waits."""

    # -- called by the transport -------------------------------------------------------------------

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A client has connected; one that never speaks is idle."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._close_after(self.timeout_keep_alive)
        if len(self.connections) > self._max_connections:
            self._make_room()

    @property
    def quiet_since(self) -> float | None:
        """Since when the client owes a request or the rest of its head; None while it owes none."""
        return self._head_since if self._is_in_head else self._idle_since

    def _make_room(self) -> None:
        """Close connections on which nothing comes, the quietest first; some more than one.

        Looking for them costs as much as there are, so it must not be done for each new one.
        """
        others: set[GuardedProtocol] = self.connections - {self}  # type: ignore[assignment]
        quiet = [(since, id(c), c) for c in others if (since := c.quiet_since) is not None]
        number = 1 + self._max_connections // _SHARE_AT_ONCE
        for _, _, connection in heapq.nsmallest(number, quiet):
            connection.transport.close()
        if not quiet:  # everybody works
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._refusal is not None:
            return
        self._idle_since = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._parse_plainly(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(not_http())
        if self._is_in_head:
            self._wait_for_head(len(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; its timer too."""
        super()._unset_keepalive_if_required()
        self._forget_head()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # -- heads that uvicorn would wait for, or give up ---------------------------------------------

    def _parse_plainly(self, rest: memoryview) -> None:
        """Parse a head again, without its wish for another protocol, and then the `rest`."""
        while True:
            plain, self._plain_head = self._plain_head, None
            try:
                if plain is None:  # a tunnel, which is not offered
                    self._refuse(not_http())
                else:
                    # the one before may have ended with its `Connection: close`
                    self.parser = httptools.HttpRequestParser(self)
                    self.parser.feed_data(plain)
                    self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                continue
            except httptools.HttpParserError:
                self._refuse(not_http())
            return

    def _without_upgrade(self) -> bytes | None:
        """The head without its wish for another protocol; None for CONNECT, which is nothing else.

        The parser takes what follows such a head for the other protocol, and skips the body.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            return None
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (method, self.url, version)]
        for name, value in self.headers:
            if name == b"connection":
                kept = [t for t in value.split(b",") if t.strip().lower() not in _UPGRADES]
                lines.append(b"connection: " + b",".join(kept))
            elif name not in _UPGRADES:
                lines.append(name + b": " + value)
        return b"\r\n".join((*lines, b"", b""))

    def _wait_for_head(self, more_bytes: int) -> None:
        if self._head_timer is None:
            self._head_since = self.loop.time()
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._refuse, slow_head())
            return
        self._head_bytes += more_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(long_head())

    def _forget_head(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: Problem) -> None:
        """Refuse what cannot be read, after the answers to what came before it, and close."""
        self._is_in_head = False
        self._forget_head()
        self._answer_waiting()
        if self.transport.is_closing():
            return
        self._refusal = self._refusal_of(problem)
        if self.pipeline and self.cycle.more_body:  # the broken request, which waits for its turn
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running
        cycle = self.cycle
        is_broken = cycle is not None and cycle.more_body and not cycle.response_started
        if cycle is None or cycle.response_complete or is_broken:
            self._close_with_refusal()
        else:
            self.flow.pause_reading()

    def _close_with_refusal(self) -> None:
        assert self._refusal is not None
        if not self.transport.is_closing():
            self.transport.write(self._refusal)
            self.transport.close()

    # -- idle connections: one timer that looks again; setting one a request costs 2.6 us ----------

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None

    def on_response_complete(self) -> None:
        """Uvicorn has answered a request its own way; it sets a timer."""
        super()._unset_keepalive_if_required()
        super().on_response_complete()
        self._idle_since = self.loop.time()
        if self._refusal is not None and self.cycle.response_complete:
            self._close_with_refusal()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # a request is under way; its answer sets the timer
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._close_after(left_s)
        else:
            super().timeout_keep_alive_handler()

    def _close_after(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )
