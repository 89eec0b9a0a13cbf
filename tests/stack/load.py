"""A steady stream of predictions, to see what clients notice while something happens."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import httpx

from stack.driver import ADVERSE, Stack

_PAUSE_S = 0.02


class Load:
    """Asks for predictions, one after another on two connections, until the block ends."""

    def __init__(self, stack: Stack) -> None:
        self._url = f"http://127.0.0.1:{stack.gateway_port}/predict"
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(2)]
        self.versions: list[str] = []
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(timeout=60)

    def _ask(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._end.wait(_PAUSE_S):
                try:
                    answer = client.post(self._url, json=ADVERSE)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    continue
                if answer.status_code == httpx.codes.OK:
                    self.versions.append(answer.headers["x-model-version"])
                else:
                    self.failures.append(f"{answer.status_code} {answer.text[:200]}")
