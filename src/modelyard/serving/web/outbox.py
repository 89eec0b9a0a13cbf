"""Answers that wait until their predictions are logged.

All answers of one call of the model share one write to the log: what a client has got is there,
even if the process is killed in that moment, and the system is asked once, not once a request.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from modelyard.serving.protocols.exchange import HttpResponse

log = logging.getLogger(__name__)

Reply = Callable[[HttpResponse | None], None]
"""Takes the answer of a request, or None when it was declined."""


class Outbox:
    """Holds answers; used from the event loop's thread only.

    Args:
        write_log: called before answers are sent; it must not raise.
    """

    def __init__(self, write_log: Callable[[], None]) -> None:
        self._write_log = write_log
        self._waiting: list[tuple[Reply, HttpResponse | None]] = []

    def add(self, reply: Reply, answer: HttpResponse | None) -> None:
        """Let `reply` have the answer when all is sent."""
        self._waiting.append((reply, answer))

    def send(self) -> None:
        """Write the log, then reply to all that wait."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        self._write_log()
        for reply, answer in waiting:
            try:
                reply(answer)
            except Exception:  # one connection's defect must not cost the others their answers
                log.exception("An answer could not be sent.")
