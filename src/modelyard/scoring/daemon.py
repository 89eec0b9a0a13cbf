"""Blocking calls in threads that never hold up the end of the process.

The executors of the standard library are joined at exit: a download, or a model that hangs, would
keep a stopped server alive for minutes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class DaemonCall(Generic[Result]):
    """`call` runs in a thread of its own from now on."""

    def __init__(self, call: Callable[[], Result], name: str) -> None:
        self._future: Future[Result] = Future()
        self._call = call
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        if not self._future.set_running_or_notify_cancel():
            return
        try:
            result = self._call()
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            self._future.set_exception(error)
        else:
            self._future.set_result(result)

    def result(self, timeout_s: float) -> Result:
        """What the call returns or raises; TimeoutError when it is not there in time."""
        return self._future.result(timeout_s)

    async def wait(self) -> Result:
        """The same, for the event loop; being cancelled leaves the thread to itself."""
        return await asyncio.wrap_future(self._future)


async def in_daemon(call: Callable[[], Result], name: str) -> Result:
    """What `call` returns, run in a thread of its own."""
    return await DaemonCall(call, name).wait()
