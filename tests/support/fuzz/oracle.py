"""What must hold for the answers of a connection."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from support.fuzz.case import Case
from support.fuzz.expectation import expected, is_for_predictions
from support.fuzz.framing import UNREADABLE, Answer, Asked, Found
from support.fuzz.grammar import CANARY
from support.fuzz.reference import Sizes, Verdict, is_finite
from support.protocol_requests import ARROW

_SANE_ID = re.compile(rb"[A-Za-z0-9._~+/=-]{1,128}")


class Fault(Exception):  # noqa: N818 - of the server, found
    """What is wrong, in one line; it begins with its kind."""

    @property
    def kind(self) -> str:
        """Faults of one kind are the same fault while a case is made smaller."""
        return str(self).partition(":")[0]


def check(
    case: Case,
    found: Found,
    answers: list[Answer],
    rest: bytes,
    sizes: Sizes,
    *,
    is_closed: bool,
) -> int:
    """Hold the answers of a connection to what was asked; returns how many requests got none.

    Args:
        rest: what came behind the whole answers.
        is_closed: whether it was the server that closed the connection, or a reset.

    Raises:
        Fault: something does not hold.
    """
    if rest and case.end != "abort" and len(answers) < found.answers:
        raise Fault(f"torn answer: {len(answers)} of {found.answers}, then {rest[:80]!r}")
    most = max(found.answers, len(found.asked) + found.is_broken)
    if len(answers) > most and not found.is_upgraded:
        statuses = [answer.status for answer in answers]
        raise Fault(f"too many answers: {statuses} to {found.answers} requests")
    for place, answer in enumerate(answers):
        is_last = place == len(answers) - 1
        if answer.closes and not is_last:
            raise Fault("answer after the last: the one before it said that it closes")
        if answer.status == 400 and answer.body.startswith(UNREADABLE):
            if not is_last:
                raise Fault("answer after the last: llhttp had given up")
            if not (found.is_broken or found.is_upgraded):
                raise Fault("whole request refused: llhttp reads it in one piece")
            continue
        if place < len(found.asked):
            check_answer(case, found.asked[place], answer, sizes)
    if len(answers) < found.answers and not is_closed:
        raise Fault(f"no answer: {len(answers)} to {found.answers} requests, and not closed")
    return max(0, len(found.asked) - len(answers))


def check_answer(case: Case, asked: Asked, answer: Answer, sizes: Sizes) -> None:
    """Hold one answer to its request."""
    path = asked.path
    where = f"{asked.method.decode()} {path[:60]!r}"
    _check_id(asked, answer, where)
    if answer.status >= 500 and not (answer.status == 503 and b"retry-after" in answer.heads):
        raise Fault(f"status {answer.status}: {where}: {answer.body[:200]!r}")
    is_prediction = is_for_predictions(path)
    if is_prediction and asked.method == b"POST":
        verdict = expected(case, asked, sizes)
        if answer.status == 200:
            _check_numbers(verdict, answer, where)
            return
        if verdict.must and verdict.numbers is not None and answer.status != 503:
            raise Fault(f"good request refused: {where}: {answer.status} {answer.body[:200]!r}")
    elif is_prediction and answer.status < 400:
        raise Fault(f"answered without POST: {where}: {answer.status}")
    if answer.status >= 400 and asked.method != b"HEAD":
        _check_refusal(asked, path, answer, where)


def _check_id(asked: Asked, answer: Answer, where: str) -> None:
    given = answer.heads.get(b"x-request-id", b"")
    if not _SANE_ID.fullmatch(given):
        raise Fault(f"no request id: {where}: {answer.status} {answer.body[:80]!r}")
    ids = asked.heads_of(b"x-request-id")
    if len(ids) == 1 and _SANE_ID.fullmatch(ids[0]) and given != ids[0]:
        raise Fault(f"another's answer: {where}: {ids[0]!r} got that of {given!r}")


def _check_numbers(verdict: Verdict, answer: Answer, where: str) -> None:
    try:
        found = numbers_in(answer)
    except Exception as error:
        raise Fault(
            f"malformed answer: {where}: {type(error).__name__}: {answer.body[:120]!r}"
        ) from error
    if verdict.numbers is None:
        if verdict.must:
            raise Fault(f"bad request answered: {where}: {found[:5]}")
        if not found or not is_finite(found):
            raise Fault(f"impossible answer: {where}: {found[:5]}")
    elif found != verdict.numbers:
        raise Fault(f"wrong answer: {where}: {found[:5]} instead of {verdict.numbers[:5]}")


def numbers_in(answer: Answer) -> list[float]:
    """The predictions in an answer of any protocol."""
    kind = answer.heads[b"content-type"]
    if kind == ARROW.encode():
        return pa.ipc.open_stream(answer.body).read_all().column("answer").to_pylist()
    size = int(answer.heads.get(b"inference-header-content-length", len(answer.body)))
    value = _strict(answer.body[:size])
    if "outputs" not in value:
        (numbers,) = (value[name] for name in ("prediction", "predictions") if name in value)
        return numbers
    (output,) = value["outputs"]
    data = answer.body[size:]
    numbers = output["data"] if "data" in output else [*struct.unpack(f"<{len(data) // 8}d", data)]
    assert output["shape"] == [len(numbers)]
    return numbers


def _strict(text: bytes) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(text, parse_constant=refuse)


def _check_refusal(asked: Asked, path: str, answer: Answer, where: str) -> None:
    try:
        value: Mapping[str, Any] = _strict(answer.body)
    except ValueError:
        raise Fault(
            f"refusal without form: {where}: {answer.status} {answer.body[:80]!r}"
        ) from None
    kind = answer.heads.get(b"content-type")
    if path == "/v2" or path.startswith("/v2/"):
        is_right = set(value) == {"error"} and kind == b"application/json"
    elif path in ("/invocations", "/ping", "/version"):
        is_right = set(value) == {"error_code", "message"} and kind == b"application/json"
    else:
        is_right = kind == b"application/problem+json" and value.get("status") == answer.status
        is_right &= {"type", "title", "detail", "instance"} <= set(value)
    if not is_right:
        raise Fault(f"refusal without form: {where}: {answer.status} {kind!r} {answer.body[:80]!r}")
    if CANARY.encode() in answer.body and not _has_name(asked.body):
        raise Fault(f"value repeated: {where}: {answer.status} {answer.body[:300]!r}")


def _has_name(body: bytes) -> bool:
    """Whether the canary stands where names do, which refusals may show."""
    name = re.escape(CANARY.encode())
    forms = (rb'%b[^"]*"\s*:', rb'"name"\s*:\s*"%b', rb'"columns"\s*:\s*\[[^]]*%b')
    is_head_of_table = CANARY.encode() in body.split(b"\n")[0] and b"{" not in body
    return is_head_of_table or any(re.search(form % name, body) for form in forms)
