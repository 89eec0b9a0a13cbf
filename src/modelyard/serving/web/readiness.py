"""Whether requests should be sent here, beyond that a model is served."""

from __future__ import annotations

from modelyard.serving.web.drain import Drain
from modelyard.serving.web.recorder import Recorder


class Readiness:
    """Asked by every readiness check.

    A model that fails on every request leaves the server ready: as a rule its replicas serve the
    same version, and one client's bad requests must not take all of them out of service.

    Args:
        drain: whether the process is about to stop.
        recorder: whether it may answer what it cannot log.
    """

    def __init__(self, drain: Drain, recorder: Recorder) -> None:
        self._drain = drain
        self._recorder = recorder

    def check_ready(self) -> None:
        """Raise the 503 `Problem` that answers a readiness check of a server that is not ready."""
        self._drain.check_ready()
        self._recorder.check_ready()
