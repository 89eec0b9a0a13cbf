"""Ends a server whose event loop stands still, so that its container starts it again.

A loop that does not turn answers nobody, not even `/livez`, and Docker restarts only what ends.
A thread looks at the loop; where not even a thread gets its turn, since native code keeps the
interpreter to itself, a timer of faulthandler's does, which needs no interpreter.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable

from modelyard.errors import ExitCode

log = logging.getLogger(__name__)

_LOOKS = 15
"""As many looks make the limit. Looks are counted, not seconds: a machine that was suspended, or a
container that was paused, did not look either."""
_WARN_AT = 5
_TIMER_LIMITS = 4


class Watchdog:
    """Watches the event loop that starts it.

    Args:
        limit_s: seconds that the loop may stand still; 0: any time.
        free: called, from another thread, when a third of them has passed: it may end what the
            loop waits for.
    """

    def __init__(self, limit_s: float, free: Callable[[], None]) -> None:
        self._limit_s = limit_s
        self._look_s = limit_s / _LOOKS
        self._free = free
        self._looks = 0
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin; called in the loop."""
        if self._limit_s > 0:
            self._turn(asyncio.get_running_loop())
            threading.Thread(
                target=self._watch, args=(threading.get_ident(),), name="watchdog", daemon=True
            ).start()

    def stop(self) -> None:
        """Watch no more; from any thread."""
        self._stopped.set()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks = 0
        if not self._stopped.is_set():
            loop.call_later(self._look_s, self._turn, loop)

    def _watch(self, loop_thread: int) -> None:
        while not self._stopped.wait(self._look_s):
            self._looks += 1
            if self._looks == _WARN_AT:
                log.error(
                    "The event loop has stood still for %.3g s, in:\n%s",
                    self._look_s * _WARN_AT,
                    _stack(loop_thread),
                )
                self._free()
            elif self._looks > _LOOKS:
                self._end(loop_thread)
            else:
                faulthandler.dump_traceback_later(_TIMER_LIMITS * self._limit_s, exit=True)
        faulthandler.cancel_dump_traceback_later()

    def _end(self, loop_thread: int) -> None:
        log.critical(
            "The event loop has stood still for %g s: this server ends, and its container starts "
            "it again. It stands in:\n%s",
            self._limit_s,
            _stack(loop_thread),
        )
        logging.shutdown()
        os._exit(ExitCode.STOOD_STILL)


def _stack(thread: int) -> str:
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - the way to another thread's stack
    return "" if frame is None else "".join(traceback.format_stack(frame)).rstrip()
