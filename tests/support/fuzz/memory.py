"""The server's own connections without sockets: bytes in, bytes out, at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from modelyard.serving.web.connection import Connection
from support.serving_app import Server

PATIENCE_S = 60.0
"""Nothing takes so long; what does, hangs."""


class Pipe(asyncio.Transport):
    """What a connection writes to; it reads when it is fed.

    Args:
        is_slow: its client stops reading after each write, and goes on a little later.
    """

    def __init__(self, protocol: Connection, port: int, *, is_slow: bool) -> None:
        super().__init__({"peername": ("127.0.0.1", port), "sockname": ("127.0.0.1", 8000)})
        self.data = bytearray()
        self.is_lost = False
        self._protocol = protocol
        self._is_slow = is_slow
        self._is_closing = False
        self._is_paused = False
        self._waiting: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        protocol.connection_made(self)

    # -- the client's side ----------------------------------------------------------------------

    def feed(self, piece: bytes) -> None:
        """The server reads `piece`, now or when it reads again."""
        if self._is_paused or self._waiting:
            self._waiting.append(piece)
        elif not self._is_closing:
            self._protocol.data_received(piece)

    def end(self) -> None:
        """The client sends no more."""
        if not self._is_closing and not self._protocol.eof_received():
            self.close()

    async def until(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Wait until it is true, or the connection is closed; False when neither comes."""
        deadline = self._loop.time() + patience_s
        while not (condition() or self._is_closing):
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, deadline - self._loop.time()))
            except TimeoutError:
                return False
        return True

    # -- the server's side ----------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self._is_closing:
            return
        self.data += data
        self._changed.set()
        if self._is_slow and not self._protocol.flow.write_paused:
            self._protocol.pause_writing()
            self._loop.call_soon(self._loop.call_soon, self._protocol.resume_writing)

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._changed.set()
            self._loop.call_soon(self._lose)

    abort = close

    def _lose(self) -> None:
        self.is_lost = True
        self._protocol.connection_lost(None)

    def pause_reading(self) -> None:
        self._is_paused = True

    def resume_reading(self) -> None:
        self._is_paused = False
        self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        while self._waiting and not self._is_paused and not self._is_closing:
            self._protocol.data_received(self._waiting.pop(0))

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""


class Host:
    """A server in this process that accepts pipes; used within one event loop."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.state = ServerState()
        self.raised: list[str] = []
        self._config = uvicorn.Config(server.app, ws="none", log_config=None, access_log=False)
        self._ports = iter(range(1, 2**31))

    def connect(self, *, is_slow: bool = False) -> Pipe:
        """A new connection."""
        direct = self.server.app.direct
        made = Connection(direct, 1000, config=self._config, server_state=self.state, app_state={})
        return Pipe(made, next(self._ports), is_slow=is_slow)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within the block, what callbacks raise is kept."""

        def keep(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            error = context.get("exception")
            self.raised.append(f"{context['message']}: {error!r}")

        asyncio.get_running_loop().set_exception_handler(keep)
        yield

    async def settle(self, patience_s: float = PATIENCE_S) -> bool:
        """Wait until no connection and no task is left; False when one stays."""
        deadline = asyncio.get_running_loop().time() + patience_s
        while self.state.connections or self.state.tasks:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.001 if self.state.tasks else 0)
        return True
