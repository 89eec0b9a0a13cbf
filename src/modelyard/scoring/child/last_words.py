"""The end of what a child prints: it explains its death."""

from __future__ import annotations

import threading
from contextlib import suppress
from io import FileIO
from typing import IO

_READ_BYTES = 2**18
_KEPT_BYTES = 4096
_KEPT_LINES, _LINE_CHARACTERS = 20, 200


class LastWords:
    """Reads `output` to its end in a thread, however much it is, and keeps the last lines."""

    def __init__(self, output: IO[bytes]) -> None:
        self._kept = b""
        threading.Thread(
            target=self._listen, args=(output,), name="child-output", daemon=True
        ).start()

    def __str__(self) -> str:
        lines = self._kept.decode("utf-8", "replace").splitlines()
        kept = [line.strip()[:_LINE_CHARACTERS] for line in lines if line.strip()]
        return " | ".join(kept[-_KEPT_LINES:])

    def _listen(self, output: IO[bytes]) -> None:
        assert isinstance(output, FileIO)  # unbuffered: what is there is read at once
        with output, suppress(OSError, ValueError):
            while chunk := output.read(_READ_BYTES):
                self._kept = (self._kept + chunk[-_KEPT_BYTES:])[-_KEPT_BYTES:]
