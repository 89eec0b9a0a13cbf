"""`python -m modelyard.serving` without uvicorn's ticks, ten times a second, which would count.

Run by its path, in a tree that may not have it.
"""

import asyncio
import runpy

import uvicorn


async def _wait(self: uvicorn.Server) -> None:
    await self.on_tick(0)
    await asyncio.Event().wait()  # until it is killed


if __name__ == "__main__":
    uvicorn.Server.main_loop = _wait  # type: ignore[method-assign]
    runpy.run_module("modelyard.serving", run_name="__main__", alter_sys=True)
