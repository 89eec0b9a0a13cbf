"""The fuzzer itself: its cases can be made again, and are made smaller when they fail."""

from __future__ import annotations

import json

import pytest

from support.fuzz.case import Case, make_case
from support.fuzz.framing import MalformedError, answers_in, requests_in
from support.fuzz.minimise import minimise
from support.fuzz.reference import Refused, Sizes, Verdict, judge, native, predictions
from support.fuzz.reference_scoring import layouts
from support.models.toy import ROW


def test_a_case_is_made_again_from_its_number_and_from_its_file():
    cases = [make_case(1, number) for number in range(200)]
    assert cases == [make_case(1, number) for number in range(200)]
    assert [Case.from_json(case.to_json()) for case in cases] == cases
    assert len({case.stream for case in cases}) == 200
    assert all(b"".join(case.pieces) == case.stream for case in cases)


def test_a_failing_case_is_made_smaller():
    case = Case("1/1", b"before" + b"A" * 300 + b"bad" + b"after" * 30, (3, 100, 305), "slow")
    small = minimise(case, lambda one: b"bad" in one.stream and bool(one.cuts))
    assert (small.stream, small.end, len(small.cuts)) == (b"bad", "eof", 1)


def test_requests_and_answers_are_found_in_streams():
    found = requests_in(
        b"GET /a HTTP/1.1\r\n\r\nPOST /b%20c HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi"
    )
    assert [(one.path, one.body, one.keeps_alive) for one in found.asked] == [
        ("/a", b"", True),
        ("/b c", b"hi", False),
    ]
    assert (found.answers, found.is_broken) == (2, False)
    assert requests_in(b"GET / HTTP/1.1\r\n\r\n\0").is_broken
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    answers, rest = answers_in(head + b"ok" + head + b"o", found.asked)
    assert ([answer.body for answer in answers], rest) == ([b"ok"], head + b"o")
    with pytest.raises(MalformedError):
        answers_in(b"o" + head, [])


@pytest.mark.parametrize("change", [{"amount": -1}, {"hour": 9.0}, {"note": "x" * 9}, {"more": 1}])
def test_the_reference_refuses_what_breaks_the_contract(change: dict):
    assert native(json.dumps(ROW).encode(), Sizes())
    with pytest.raises(Refused):
        predictions(native(json.dumps(ROW | change).encode(), Sizes()))


def test_the_reference_casts_where_nothing_is_lost():
    def verdict(**change: object) -> Verdict:
        body = json.dumps({"instances": [ROW | change]}).encode()
        return judge(lambda: layouts(body, Sizes()))

    assert verdict(amount="12.5", hour=9.0) == Verdict([1012.5])
    assert verdict(hour=9.5) == Verdict(None)
    assert verdict(amount="\u0663") == Verdict([1003.0], must=False)
