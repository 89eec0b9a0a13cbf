"""What the integration tests need to know of the servers that conftest.py starts."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Store:
    """An S3 store: its address and the environment of its clients."""

    url: str
    environment: Mapping[str, str]


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on.

    Not one of those that the system gives to clients (32768 and up on Linux): between the question
    and its use another program's connection would take it now and then.
    """
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def answers(url: str) -> bool:
    """Whether `url` answers 200."""
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
