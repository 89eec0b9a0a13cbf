"""Traffic that is split between champion and challenger: asked for, counted by arm, steered."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from support.models.moody import arm, row
from support.stack_driver import Stack
from support.traffic import Traffic

COMMAND = ("python", "-m", "modelyard.cli.traffic")
NONE: Mapping[str, str] = {}


def traffic(stack: Stack, *words: str) -> dict[str, Any]:
    """`modelyard traffic ... --json`, where `make traffic` runs it."""
    said = stack.compose("exec", "-T", "traffic", *COMMAND, *words, "--json").stdout
    report: dict[str, Any] = json.loads(said)
    return report


def ask(
    stack: Stack, times: int, amount: float = 500, headers: Mapping[str, str] = NONE
) -> list[httpx.Response]:
    """So many predictions, eight at once."""
    with ThreadPoolExecutor(8) as pool:
        post = lambda _: stack.api.post("/predict", json=row(amount), headers=headers)  # noqa: E731
        return list(pool.map(post, range(times)))


def arms(found: list[httpx.Response]) -> Counter[str]:
    return Counter(map(arm, found))


def steady(stack: Stack) -> Traffic:
    """A hundred predictions a second, every answer checked."""
    return Traffic(f"http://127.0.0.1:{stack.gateway_port}/predict", 100)


def answers(stack: Stack) -> bool:
    """Whether the challenger itself answers a prediction."""
    code = (
        "import urllib.request, urllib.error\n"
        f"asked = urllib.request.Request('http://challenger:8000/predict', {json.dumps(row())!r}"
        ".encode(), {'content-type': 'application/json'})\n"
        "try: print(urllib.request.urlopen(asked, timeout=20).status)\n"
        "except urllib.error.HTTPError as error: print(error.code)\n"
    )
    return stack.python("serving", code).strip() == "200"
