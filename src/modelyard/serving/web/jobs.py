"""Work in threads that ends when nobody waits for it any more.

What has not begun never begins then; what has begun ends at its next part (`Call.check`), and is
known until it has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from modelyard.scoring.runner import Call

Result = TypeVar("Result")
Keep = Callable[["asyncio.Future[Result]"], None]
"""Told of work that goes on although its request is over: a future that is done when it ends."""


class Jobs:
    """Runs as many at once as there are threads; used from the event loop's thread only."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="predict")
        # what waits, waits here and not in the threads' queue, which forgets nothing
        self._free = asyncio.Semaphore(threads)
        self._under_way: set[Call] = set()

    def close(self) -> None:
        """Give the threads back, and give up what is under way."""
        for call in self._under_way:
            call.give_up()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, work: Callable[[Call], Result], keep: Keep[Result]) -> Result:
        """What `work` returns; it is given up when the task that waits here is cancelled."""
        await self._free.acquire()
        call = Call()
        self._under_way.add(call)
        job = asyncio.get_running_loop().run_in_executor(self._threads, work, call)
        job.add_done_callback(partial(self._ended, call))
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            if not job.done():
                keep(job)
                call.give_up()
            raise

    def _ended(self, call: Call, job: asyncio.Future[Any]) -> None:
        self._under_way.discard(call)
        self._free.release()
        if not job.cancelled():
            job.exception()  # or asyncio would complain that nobody asked how it ended
