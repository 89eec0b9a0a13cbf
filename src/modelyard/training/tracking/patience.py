"""Waiting for an MLflow server that restarts: a short outage must not end a long fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

import requests
from mlflow.exceptions import MlflowException

Returned = TypeVar("Returned")

_PAUSE_S = 2.0


class Patience:
    """Repeats calls to MLflow that got no answer, for at most `limit_s` seconds each.

    Args:
        warn: told once when an outage begins, and once when it is over.
    """

    def __init__(self, limit_s: float, warn: Callable[[str], None]) -> None:
        self._limit_s = limit_s
        self._warn = warn

    def __call__(self, call: Callable[[], Returned]) -> Returned:
        """What `call` returns; it must be safe to repeat.

        Raises:
            MlflowException, RequestException: MLflow refused, or gave no answer in time.
        """
        deadline = time.monotonic() + self._limit_s
        waiting = False
        while True:
            try:
                result = call()
            except (MlflowException, requests.RequestException) as error:
                if not is_outage(error) or time.monotonic() >= deadline:
                    raise
                if not waiting:
                    self._warn(f"MLflow does not answer: waiting for up to {self._limit_s:g} s")
                    waiting = True
                time.sleep(_PAUSE_S)
            else:
                if waiting:
                    self._warn("MLflow answers again")
                return result


def is_outage(error: Exception) -> bool:
    """Whether `error` means that the server did not answer, and not that it refused."""
    if isinstance(error, MlflowException):
        return int(error.get_http_status_code()) >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, requests.RequestException)
