"""A server's follower at work, and what a test waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from modelyard.serving.following.report import State
from support.serving_app import Server

PATIENCE_S = 20


async def until(condition: Callable[[], bool]) -> None:
    """Wait for `condition`; a test that waits in vain fails."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the condition knows no event
            await asyncio.sleep(0.005)


def follow(server: Server, work: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    """Do `work` while the follower runs; every child is ended afterwards."""

    async def main() -> None:
        try:
            async with server.following() as client:
                await work(client)
        finally:
            server.holder.close()

    asyncio.run(main())


def settled(server: Server) -> Callable[[], bool]:
    return lambda: server.follower.report.state is not State.STARTING


def served(server: Server) -> str | None:
    return server.holder.snapshot.version.version if server.holder.snapshot else None
