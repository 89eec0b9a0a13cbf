"""Free ports of the loopback."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """A port of the loopback that nobody listens on.

    Not one of those that the system gives to clients (32768 and up on Linux): between the question
    and its use another program's connection would take it now and then.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
