"""A challenger that misbehaves when a request asks it to, as a real model in the stack's registry.

Python code, so that it runs through pyfunc in a child process. It takes what the fraud model takes
and answers `SCORE`, which the fraud model never does; certain amounts make it fail.
"""

from __future__ import annotations

from typing import Any

import httpx

from fraud_detector.contract import CONTRACT
from support.models.model import Model, register
from support.stack_driver import ADVERSE, Stack

NAME = "moody"
URI = f"models:/{NAME}@challenger"
SCORE = 0.125
RAISE, HANG, NAN, SLOW = 666.25, 667.25, 668.25, 669.25

_CODE = f"""
import time
import numpy as np

class Model:
    def predict(self, frame):
        amounts = set(frame["amount"])
        if {RAISE} in amounts:
            raise ValueError("told to")
        if {HANG} in amounts:
            time.sleep(600)
        if {SLOW} in amounts:
            time.sleep(0.15)
        return np.full(len(frame), float("nan") if {NAN} in amounts else {SCORE})
"""


def register_moody(stack: Stack) -> None:
    """Register the model and let `challenger` point to it."""
    register(stack.mlflow_url, NAME, Model(_CODE, CONTRACT), alias="challenger")


def row(amount: float = 500) -> dict[str, Any]:
    """The README's row with another amount."""
    return {**ADVERSE, "amount": amount}


def arm(answer: httpx.Response) -> str:
    """Which arm answered; the body and the header have to say the same."""
    assert answer.status_code == 200, answer.text
    said = answer.headers["x-model-arm"]
    assert (said == "challenger") == (answer.json()["prediction"] == [SCORE]), answer.text
    return str(said)
