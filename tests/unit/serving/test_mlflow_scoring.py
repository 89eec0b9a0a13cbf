"""MLflow's scoring protocol: its layouts, its casts where they lose nothing, its errors."""

from __future__ import annotations

import json
from typing import Any

import mlflow
import pandas as pd
import pytest

from modelyard import __version__
from modelyard.serving.routes.native import MLFLOW_VERSION
from support.models.toy import ROW
from support.protocol_requests import lists_of, post, rows_of, strict_json
from support.serving_app import MakeServer, Server

ROWS = rows_of(1, 2.5)
SPLIT = {"columns": list(ROW), "data": [list(row.values()) for row in ROWS]}
PATH = "/invocations"


def check_error(answer, status: int, code: str = "BAD_REQUEST") -> str:
    assert answer.status_code == status, answer.text
    error = strict_json(answer)
    assert error.keys() == {"error_code", "message"}
    assert error["error_code"] == code
    assert "Traceback" not in error["message"]
    assert answer.headers["x-request-id"]
    return error["message"]


LAYOUTS: list[dict[str, Any]] = [
    {"dataframe_split": SPLIT},
    {"dataframe_split": SPLIT | {"index": [0, 1]}},
    {"dataframe_records": ROWS},
    {"instances": ROWS},
    {"inputs": lists_of(ROWS)},
    {"inputs": {name: [[value] for value in values] for name, values in lists_of(ROWS).items()}},
    {"inputs": ROWS},
    {"dataframe_records": ROWS, "params": {"temperature": 1}},
    {"dataframe_records": ROWS, "params": None},
    {"dataframe_records": [row | {"shade": "red"} for row in ROWS]},
    {"dataframe_records": [dict(reversed(row.items())) for row in ROWS]},
]


@pytest.mark.parametrize("body", LAYOUTS, ids="+".join)
def test_every_layout_is_taken(server: Server, body: dict[str, Any]):
    answer = post(server, PATH, body)
    assert answer.status_code == 200, answer.text
    assert strict_json(answer) == {"predictions": [1001.0, 1002.5]}
    assert answer.headers["x-model-version"] == "1"
    declared = post(server, PATH, body, content_type="application/json; charset=utf-8")
    assert declared.status_code == 200


def test_inputs_may_be_one_row(server: Server):
    assert post(server, PATH, {"inputs": ROW}).json() == {"predictions": [1012.5]}


def test_pandas_payloads_are_taken(server: Server):
    frame = pd.DataFrame(rows_of(3, 4.5))
    split = {"dataframe_split": frame.to_dict(orient="split")}
    assert post(server, PATH, split).json() == {"predictions": [1003.0, 1004.5]}
    for text in (frame.to_csv(), frame.to_csv(index=False)):
        answer = post(server, PATH, text, content_type="text/csv")
        assert answer.json() == {"predictions": [1003.0, 1004.5]}, answer.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", "12.5"),
        ("amount", 12),
        ("amount", "1e2"),
        ("hour", 3.0),
        ("hour", "3"),
        ("hour", "3.0"),
        ("is online", 1),
        ("is online", 0.0),
        ("is online", "true"),
        ("note", 12),
    ],
)
def test_a_cast_that_loses_nothing_is_made(server: Server, field: str, value: Any):
    for body in (
        {"dataframe_records": [ROW, ROW | {field: value}]},
        {"inputs": ROW | {field: value}},
    ):
        assert post(server, PATH, body).status_code == 200


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("hour", "3.5", "hour (row 1): must be a whole number."),
        ("hour", '"3.5"', "hour (row 1): must be a whole number."),
        ("hour", "24", "hour (row 1): must be at most 23."),
        ("amount", "null", "amount (row 1): must be a number."),
        ("amount", "NaN", "amount (row 1): must be finite."),
        ("amount", "Infinity", "amount (row 1): must be finite."),
        ("amount", "1e999", "amount (row 1): must be finite."),
        ("amount", '"nan"', "amount (row 1): must be a number."),
        ("amount", '"1_0"', "amount (row 1): must be a number."),
        ("amount", "true", "amount (row 1): must be a number."),
        ("amount", "1" + "0" * 30, "amount (row 1): must be at most 999."),
        ("amount", "1" + "0" * 400, "amount (row 1): is too large."),
        ("is online", "2", "is online (row 1): must be true or false."),
        ("merchant_category", '"fashion"', "merchant_category (row 1): must be one of:"),
        ("merchant_category", '"\\ud800"', "merchant_category (row 1): must be one of:"),
        ("note", '"\\ud800"', "note (row 1): must be valid Unicode text."),
        ("note", "1.5", "note (row 1): must be a string."),
        ("note", "9" * 500, "note (row 1): must be a string."),
    ],
)
def test_what_would_lose_something_is_refused_by_name(
    server: Server, field: str, text: str, message: str
):
    parts = {name: json.dumps(value) for name, value in ROW.items()} | {field: text}
    row = "{" + ",".join(f'"{name}":{value}' for name, value in parts.items()) + "}"
    body = f'{{"dataframe_records": [{json.dumps(ROW)}, {row}]}}'
    assert message in check_error(post(server, PATH, body), 400)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "exactly one of dataframe_split"),
        ([], "exactly one of"),
        (ROW, "exactly one of"),
        ({"instances": ROWS, "inputs": ROWS}, "exactly one of"),
        ({"dataframe_split": 1}, '"columns" and "data"'),
        ({"dataframe_split": {"columns": ["a"]}}, '"columns" and "data"'),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "more than once"),
        ({"dataframe_split": {"columns": [1], "data": []}}, "list of strings"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "Row 0 must be a list of 1"),
        ({"dataframe_split": {"columns": ["a"], "data": {}}}, "list of rows"),
        ({"dataframe_split": {"columns": list(ROW), "data": []}}, "at least one row"),
        ({"dataframe_records": []}, "amount: is required."),
        ({"dataframe_records": [{}]}, "amount: is required."),
        ({"dataframe_records": [ROW, {"amount": 1}]}, "hour (row 1): must be a whole number."),
        ({"dataframe_records": [[1]]}, "must be a list of objects"),
        ({"instances": [1, 2]}, "must be a list of objects"),
        ({"inputs": [1, 2]}, "must be a list of objects"),
        ({"inputs": ROW | {"amount": [1]}}, "must be a list of values"),
        ({"inputs": lists_of(ROWS) | {"hour": [1]}}, "hour: must have as many rows"),
        ({"inputs": {}}, "is required"),
        ({"instances": ROWS, "params": []}, "params must be an object"),
        ("{", "must be JSON"),
        ('{"instances": [], "instances": []}', "instances appears more than once"),
        ("[" * 250_000, "must be JSON"),
        (b"\xff", "must be JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_no_layout_is_a_bad_request(server: Server, body: Any, message: str):
    assert message in check_error(post(server, PATH, body), 400)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n",
        b"amount",
        b"a,a\n1,2",
        b"amount\n1,2",
        b'a\n"x',
        b"\xff",
        b"a\x00b\n1",
        b"a\n" + b"x" * 200_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_no_table_in_csv_is_a_bad_request(server: Server, text: bytes):
    check_error(post(server, PATH, text, content_type="text/csv"), 400)


def test_an_empty_cell_is_no_number(server: Server):
    text = ",".join(ROW) + "\n,grocery,9,True,hi\n"
    message = check_error(post(server, PATH, text, content_type="text/csv"), 400)
    assert "amount (row 0): must be a number." in message


def test_other_types_and_methods_are_refused_in_mlflows_words(server: Server):
    for kind in ("text/plain", "", "application/json; charset=latin-1"):
        check_error(post(server, PATH, "{}", content_type=kind), 415)
    answer = server.ask("GET", PATH)
    check_error(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_limits_hold(make_server: MakeServer):
    server = make_server(max_rows=2, max_body_bytes=2048)
    server.serve(1)
    assert "at most 2 rows" in check_error(post(server, PATH, {"instances": [ROW] * 3}), 413)
    assert "at most 2048 bytes" in check_error(post(server, PATH, " " * 2049), 413)


def test_ping_and_version(make_server: MakeServer):
    server = make_server()
    check_error(server.ask("GET", "/ping"), 503, "TEMPORARILY_UNAVAILABLE")
    check_error(post(server, PATH, {"instances": ROWS}), 503, "TEMPORARILY_UNAVAILABLE")
    server.serve(1)
    assert server.ask("GET", "/ping").text == "\n"
    assert server.ask("GET", "/version").text == MLFLOW_VERSION == mlflow.__version__
    assert server.ask("GET", "/version").headers["X-Modelyard-Version"] == __version__
    check_error(server.ask("POST", "/ping"), 405)
