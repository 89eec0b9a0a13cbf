"""Many rows in one request as columnar JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.batch_requests import (
    LISTS,
    PATH,
    ROWS,
    check_faults,
    columnar,
)
from support.models.toy import ROW
from support.protocol_requests import (
    lists_of,
    post,
    rows_of,
    strict_json,
)
from support.serving_app import MakeServer, Server


def test_columns_are_answered_as_rows_are(server: Server):
    answer = columnar(server)
    assert strict_json(answer) == post(server, PATH, ROWS).json()
    assert answer.json()["prediction"] == [1001.0, 1002.5, 1003.0]
    backwards = dict(reversed(LISTS.items()))
    assert post(server, PATH, json.dumps({"columns": backwards}, indent=2)).status_code == 200
    assert columnar(server, note=["a:b", "", "{"]).status_code == 200


@pytest.mark.parametrize(
    ("changes", "place", "message"),
    [
        ({"amount": [1, 2, "3"]}, ["amount", 2], "must be a number"),
        ({"amount": [1, None, 3]}, ["amount", 1], "must be a number"),
        ({"amount": [1, True, 3]}, ["amount", 1], "must be a number"),
        ({"amount": [1, float("nan"), 3]}, ["amount", 1], "must be finite"),
        ({"amount": [1, 2, 1000]}, ["amount", 2], "must be at most 999"),
        ({"amount": [1, 2, 10**400]}, ["amount", 2], "is too large"),
        ({"amount": [1, [2], 3]}, ["amount", 1], "must be a number"),
        ({"hour": [1, 2.0, 3]}, ["hour", 1], "must be a whole number"),
        ({"hour": [1, 2, 2**63]}, ["hour", 2], "is too large"),
        ({"note": ["a", "b", "123456789"]}, ["note", 2], "must have at most 8 characters"),
        ({"note": ["a", "b", "\ud800"]}, ["note", 2], "must be valid Unicode text"),
        ({"is online": [True, 1, False]}, ["is online", 1], "must be true or false"),
        ({"amount": [1, 2]}, ["amount"], "must have as many rows as the longest column, 3"),
        ({"amount": 1}, ["amount"], "must be a list of values"),
        ({"amount": {}}, ["amount"], "must be a list of values"),
        ({"shade": [1, 2, 3]}, ["shade"], "is not a feature of this model."),
    ],
    ids=str,
)
def test_a_faulty_column_is_named(
    server: Server, changes: dict[str, Any], place: list[Any], message: str
):
    check_faults(columnar(server, **changes), (["columns", *place], message))


def test_what_is_no_table_is_refused(server: Server):
    for value in (1, [], None, "x"):
        message = "must be one object with a list for each feature"
        check_faults(post(server, PATH, {"columns": value}), (["columns"], message))
    check_faults(
        post(server, PATH, {"columns": LISTS, "index": [0]}),
        (["index"], "is not allowed beside columns"),
    )
    empty = {name: [] for name in ROW}
    check_faults(
        post(server, PATH, {"columns": empty}), (["columns"], "must hold at least one row")
    )
    text = json.dumps(LISTS)[:-1] + ', "hour": [1, 2, 3]}'
    check_faults(
        post(server, PATH, f'{{"columns": {text}}}'),
        (["columns", "hour"], "appears more than once"),
    )
    twice = f'{{"columns": {json.dumps(LISTS)}, "columns": {json.dumps(LISTS)}}}'
    assert post(server, PATH, twice).status_code == 422
    assert post(server, PATH, '{"columns": {' + "[" * 250_000).status_code == 400
    missing = post(server, PATH, {"columns": {}})
    assert [error["msg"] for error in missing.json()["errors"]] == ["is required"] * len(ROW)


def test_columns_may_have_more_rows_and_bytes_than_rows_may(make_server: MakeServer):
    server = make_server(
        max_body_bytes=1024,
        max_rows=10,
        max_batch_rows=2000,
        max_batch_body_bytes=200_000,
    )
    server.serve(1)
    many = lists_of(rows_of(*(number % 999 for number in range(2000))))
    body = json.dumps({"columns": many})
    answer = post(server, PATH, body)
    assert answer.json()["prediction"][:2] == [1000.0, 1001.0]

    async def pieces():
        for start in range(0, len(body), 100):
            yield body[start : start + 100].encode()

    headers = {"content-type": "application/json"}
    assert server.ask("POST", PATH, content=pieces(), headers=headers).status_code == 200
    over = {name: [*values, values[0]] for name, values in many.items()}
    answer = post(server, PATH, {"columns": over})
    assert answer.status_code == 413
    assert "SERVING_MAX_BATCH_ROWS" in answer.json()["detail"]
    answer = post(server, PATH, {"columns": {name: values * 5 for name, values in many.items()}})
    assert answer.status_code == 413
    assert "SERVING_MAX_BATCH_BODY_BYTES" in answer.json()["detail"]
    answer = post(server, PATH, b" " * 1025)
    assert "SERVING_MAX_BODY_BYTES" in answer.json()["detail"]
    assert post(server, PATH, [ROW] * 11).status_code == 413


def test_a_batch_that_never_ends_is_refused_at_its_limit(make_server: MakeServer):
    server = make_server(max_body_bytes=1024, max_batch_body_bytes=4096)
    server.serve(1)
    sent = 0

    async def endless():
        nonlocal sent
        yield b'{"columns": {"amount": ['
        while True:
            sent += 1
            yield b"1," * 50

    headers = {"content-type": "application/json"}
    assert server.ask("POST", PATH, content=endless(), headers=headers).status_code == 413
    assert sent < 60
