"""How a server stops without losing a request: not ready at once, answering for a while, then gone.

A load balancer asks `/health` twice a second. A server that closed its port at SIGTERM would lose
the requests that arrive before the next check. So it first answers 503 there and closes each
connection after its answer; it closes the port when the load balancer has had time to notice.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from types import FrameType

import uvicorn

from modelyard.serving.problem import Problem

log = logging.getLogger(__name__)


class Drain:
    """Whether this process is about to stop."""

    def __init__(self) -> None:
        self.is_on = False

    def check_ready(self) -> None:
        """Raise the 503 `Problem` that answers a readiness check once the process is to stop."""
        if self.is_on:
            raise Problem(
                "draining",
                503,
                "Not ready any more",
                "The server is about to stop. It still answers; ask another one from now on.",
            )


class DrainingServer(uvicorn.Server):
    """Uvicorn's server; it drains for `drain_s` seconds between SIGTERM and its end."""

    def __init__(self, config: uvicorn.Config, drain: Drain, drain_s: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_s = drain_s
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first SIGTERM; at a second one, or at Ctrl-C, stop at once."""
        loop = self._loop
        if loop is None or sig != signal.SIGTERM or self._drain.is_on or self._drain_s <= 0:
            super().handle_exit(sig, frame)
            return
        self._drain.is_on = True
        loop.call_soon_threadsafe(loop.call_later, self._drain_s, self._stop, sig, frame)

    def _stop(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit:
            super().handle_exit(sig, frame)
