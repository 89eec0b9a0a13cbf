"""`POST /predict`: a request that is not right gets an error that names the field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelyard.scoring.rows.faults import MAX_FAULTS
from support.models.toy import ROW
from support.predict_requests import check_problem, post, raw, row
from support.serving_app import Server

FAULTS: list[tuple[str, str, str]] = [
    ("amount", '"12.5"', "must be a number"),
    ("amount", "true", "must be a number"),
    ("amount", "null", "must be a number"),
    ("amount", "[1]", "must be a number"),
    ("amount", '{"a":{"b":1}}', "must be a number"),
    ("amount", "NaN", "must be finite"),
    ("amount", "Infinity", "must be finite"),
    ("amount", "-Infinity", "must be finite"),
    ("amount", "1e999", "must be finite"),
    ("amount", "-1e999", "must be finite"),
    ("amount", "1" + "0" * 30, "must be at most 999"),
    ("amount", "1" + "0" * 500, "is too large"),
    ("amount", "9" * 5000, "is too large"),
    ("amount", "-0.001", "must be at least 0"),
    ("amount", "999.001", "must be at most 999"),
    ("hour", "3.5", "must be a whole number"),
    ("hour", "3.0", "must be a whole number"),
    ("hour", '"3"', "must be a whole number"),
    ("hour", "false", "must be a whole number"),
    ("hour", "24", "must be at most 23"),
    ("hour", "-1", "must be at least 0"),
    ("hour", "1" + "0" * 30, "is too large"),
    ("hour", "9" * 5000, "is too large"),
    ("hour", "-" + "9" * 5000, "is too large"),
    ("hour", "1e2", "must be a whole number"),
    ("is online", "1", "must be true or false"),
    ("is online", '"true"', "must be true or false"),
    ("merchant_category", '"fashion"', "must be one of: electronics, grocery, books: new"),
    ("merchant_category", '"Grocery"', "must be one of: electronics, grocery, books: new"),
    ("merchant_category", "1", "must be a string"),
    ("merchant_category", "null", "must be a string"),
    ("merchant_category", '"\\ud800"', "must be one of: electronics, grocery, books: new"),
    ("note", '"123456789"', "must have at most 8 characters"),
    ("note", '"\\ud800"', "must be valid Unicode text"),
    ("note", '"\\udc00\\ud800"', "must be valid Unicode text"),
    ("note", "7", "must be a string"),
    ("note", "[" * 20 + "]" * 20, "must be a string"),
]


@pytest.mark.parametrize(("field", "text", "message"), FAULTS)
def test_a_faulty_field_is_named_and_its_value_is_not_echoed(
    server: Server, field: str, text: str, message: str
):
    answer = post(server, raw(field, text))
    problem = check_problem(answer, 422)
    assert problem["errors"] == [{"loc": ["body", field], "msg": message}]
    assert field in problem["detail"]
    value = text.strip('"')
    if len(value) > 3 and value not in message:
        assert value not in answer.text
    both = b"[" + json.dumps(ROW).encode() + b"," + raw(field, text) + b"]"
    listed = check_problem(post(server, both), 422)
    assert listed["errors"] == [{"loc": ["body", 1, field], "msg": message}]


def test_every_faulty_field_of_every_row_is_named(server: Server):
    bad = row(amount="1", hour=99, shade="red")
    del bad["note"]
    problem = check_problem(post(server, [ROW, bad, 7, []]), 422)
    assert [(tuple(e["loc"]), e["msg"]) for e in problem["errors"]] == [
        (("body", 1, "amount"), "must be a number"),
        (("body", 1, "hour"), "must be at most 23"),
        (("body", 1, "note"), "is required"),
        (("body", 1, "shade"), "is not a feature of this model."),
        (("body", 2), "must be an object"),
        (("body", 3), "must be an object"),
    ]


def test_a_misspelt_feature_gets_a_hint(server: Server):
    bad = {("amonut" if name == "amount" else name): value for name, value in ROW.items()}
    errors = check_problem(post(server, bad), 422)["errors"]
    assert errors[0] == {"loc": ["body", "amount"], "msg": "is required"}
    assert errors[1]["msg"] == 'is not a feature of this model. Did you mean "amount"?'


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (raw("amount", '1,"amount":2'), ["body", "amount"]),
        (raw("amount", '1,"amount":1'), ["body", "amount"]),
        (raw("amount", '1,"\\u0061mount":2'), ["body", "amount"]),
        (raw("note", '"a:b","note":"c"'), ["body", "note"]),
        (b"[" + raw("hour", '1,"hour":1') + b"]", ["body", 0, "hour"]),
    ],
)
def test_a_key_that_stands_twice_is_refused(server: Server, body: bytes, place: list[Any]):
    assert check_problem(post(server, body), 422)["errors"] == [
        {"loc": place, "msg": "appears more than once"}
    ]


@pytest.mark.parametrize("name", ["\ud800", "a\u0000", "x" * 1000, "\u202etnuoma"])
def test_a_name_that_cannot_be_shown_is_not(server: Server, name: str):
    problem = check_problem(post(server, row(**{name: 1})), 422)
    assert problem["errors"][0]["loc"] == ["body", "(a name that cannot be shown)"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nope",
        b"{'amount': 1}",
        json.dumps(ROW).encode() + b"x",
        json.dumps(ROW).encode()[:-1] + b",}",
        raw("amount", "01"),
        raw("amount", "+1"),
        raw("amount", "1."),
        raw("amount", "0x10"),
        raw("note", '"a\nb"'),
        raw("note", '"\\x41"'),
        raw("note", '"a').replace(b"a", b"\xff"),
        json.dumps(ROW).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(ROW).encode(),
        raw("note", '"\xc3"').replace(b"\xc3\x83", b"\xc3"),
        b"[" * 250_000,
        raw("note", "[" * 32 + "]" * 32),
        raw("note", '{"a":' * 32 + "1" + "}" * 32),
        b'{"amount":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"\x00" * 100,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_json_is_answered_400(server: Server, body: bytes):
    assert "must be JSON" in check_problem(post(server, body), 400)["detail"]


@pytest.mark.parametrize("body", [b"1", b'"x"', b"null", b"true", b"NaN", b"[]", b"[[]]", b"{}"])
def test_json_of_another_shape_is_answered_422(server: Server, body: bytes):
    assert check_problem(post(server, body), 422)["errors"]


def test_an_answer_lists_a_bounded_number_of_faults(server: Server):
    problem = check_problem(post(server, [{}] * 1000), 422)
    assert len(problem["errors"]) == MAX_FAULTS
    assert f"first {MAX_FAULTS} faults" in problem["detail"]
    hostile = {f"unknown{i}": 1 for i in range(50_000)}
    assert len(check_problem(post(server, hostile), 422)["errors"]) == MAX_FAULTS
