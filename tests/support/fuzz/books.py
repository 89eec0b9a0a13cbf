"""What the server's own counts have to be after a session."""

from __future__ import annotations

import re
from collections import Counter

from support.fuzz.figures import Figures
from support.fuzz.oracle import Fault

_COUNT = re.compile(
    r'^modelyard_requests_total\{route="([^"]+)",status="(\d+)"\} (\S+)', re.MULTILINE
)
_GONE = 499
_PREDICTIONS = ("/predict", "/invocations", "/v2/models/{model}/infer")


def check_books(text: str, figures: Figures) -> None:
    """Hold the text of `/metrics` to what was seen.

    Raises:
        Fault: a request was counted twice, or not at all, or an answer has no line in the log.
    """
    counted: Counter[int] = Counter()
    predictions = 0
    for route, status, number in _COUNT.findall(text):
        if int(status) != _GONE:
            counted[int(status)] += int(float(number))
        if route in _PREDICTIONS and status == "200":
            predictions += int(float(number))
    seen = Counter(figures.own) + Counter({200: figures.neighbours})
    for status, number in seen.items():
        if number > counted[status]:
            raise Fault(f"count: {number} answers {status}, {counted[status]} counted")
    if counted.total() - seen.total() > figures.unanswered:
        without = f"{figures.unanswered} without"
        raise Fault(f"count: {counted.total()} counted, {seen.total()} answers, {without}")
    if not re.search(r"^modelyard_in_flight 0\.0$", text, re.MULTILINE):
        raise Fault("count: modelyard_in_flight is not 0")
    log = {
        result: _value(text, f'modelyard_predictions_logged_total{{result="{result}"}}')
        for result in ("written", "lost")
    }
    if log != {"written": predictions, "lost": 0}:
        raise Fault(f"count: {predictions} predictions, in the log {log}")


def _value(text: str, name: str) -> float:
    (line,) = (line for line in text.splitlines() if line.startswith(name))
    return float(line.split()[-1])
