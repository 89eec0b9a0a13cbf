"""A deadline for each request, at a tenth of a microsecond.

`asyncio.timeout` costs about a tenth of a prediction. All requests have the same timeout, so they
fall due in the order in which they came, and one task that checks a few times a second is enough.
"""

from __future__ import annotations

import asyncio
from time import monotonic


class Deadlines:
    """Cancels the tasks that hold a request for longer than `timeout_s`.

    Likewise those whose clients have gone. A task that catches the cancellation asks `has_gone` and
    `is_overdue`, and then calls its own `uncancel`.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._entered: dict[asyncio.Task[object], float] = {}
        self._gone: set[asyncio.Task[object]] = set()

    def enter(self, task: asyncio.Task[object]) -> None:
        """The task's request starts."""
        self._entered[task] = monotonic()

    def leave(self, task: asyncio.Task[object]) -> None:
        """The task's request is over."""
        self._entered.pop(task, None)
        if self._gone:
            self._gone.discard(task)

    def give_up(self, task: asyncio.Task[object]) -> None:
        """The client of the task's request has gone: cancel it, if the request is not over."""
        if self._entered.pop(task, None) is not None:
            self._gone.add(task)
            task.cancel()

    def has_gone(self, task: asyncio.Task[object]) -> bool:
        """True between `give_up` and `leave`."""
        return task in self._gone

    def is_overdue(self, task: asyncio.Task[object]) -> bool:
        """True between the cancellation of an entered task and its `leave`."""
        return task not in self._entered

    def cancel_overdue(self) -> None:
        """Cancel every task whose deadline has passed."""
        latest = monotonic() - self._timeout_s
        for task, entered in list(self._entered.items()):
            if entered > latest:
                return
            del self._entered[task]
            task.cancel()

    async def watch(self) -> None:
        """Check a few times a second, until cancelled."""
        while True:
            await asyncio.sleep(min(0.5, self._timeout_s / 4))
            self.cancel_overdue()
