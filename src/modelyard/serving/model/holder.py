"""Holds the snapshot that is served; replacing it is one assignment."""

from __future__ import annotations

import logging
import threading

from modelyard.serving.model.snapshot import Snapshot

log = logging.getLogger(__name__)


class Holder:
    """What is served now. Used from the event loop's thread, but for `interrupt`."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None

    def replace(self, new: Snapshot) -> None:
        """Serve `new`; the old one answers the requests it holds and is closed then."""
        old, self.snapshot = self.snapshot, new
        if old is not None:
            retire(old)

    def interrupt(self) -> None:
        """End the runs of the model that are under way in this process; from any thread."""
        if (served := self.snapshot) is not None:
            served.runner.interrupt()

    def close(self) -> None:
        """Stop serving."""
        old, self.snapshot = self.snapshot, None
        if old is not None:
            retire(old)


def retire(old: Snapshot) -> None:
    """Close `old` as soon as no request holds it; no request waits for that."""
    version = old.version.version

    def close() -> None:
        try:
            old.runner.close()
        except Exception:
            log.exception("Version %s was retired and could not be closed.", version)
        else:
            log.debug("Version %s is retired.", version)

    def close_in_thread() -> None:
        try:
            threading.Thread(target=close, name="close-model", daemon=True).start()
        except RuntimeError:  # the last request that held it must not pay for that
            log.exception("Version %s was retired, and no thread can be started.", version)

    old.usage.retire(close_in_thread)
