"""The prediction log, as the server writes it."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pyarrow as pa

from support.models.toy import ROW
from support.predict_requests import log_of
from support.protocol_requests import ARROW, V2, arrow_stream, lists_of, post, rows_of, tensors
from support.serving_app import MakeServer, Server

ROWS = rows_of(1, 2.5, 3)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def check_one(server: Server, answer: httpx.Response, path: str, rows: int) -> dict[str, Any]:
    """The one line for this answer."""
    assert answer.status_code == 200, answer.text
    (fields,) = [one for one in log_of(server) if one["id"] == answer.headers["x-request-id"]]
    assert (fields["model"], fields["version"]) == ("toy", "1")
    assert (fields["path"], fields["rows"]) == (path, rows)
    return fields


def test_every_protocol_is_logged(server: Server):
    check_one(server, post(server, "/predict", ROW), "/predict", 1)
    check_one(server, post(server, "/predict", ROWS), "/predict", 3)
    check_one(server, post(server, "/predict", {"columns": lists_of(ROWS)}), "/predict", 3)
    stream = arrow_stream(pa.table(lists_of(ROWS)))
    check_one(server, post(server, "/predict", stream, content_type=ARROW), "/predict", 3)
    check_one(server, post(server, "/invocations", {"inputs": ROWS}), "/invocations", 3)
    answer = post(server, V2, {"inputs": tensors(ROWS)})
    check_one(server, answer, "/v2/models/{model}/infer", 3)
    assert len(log_of(server)) == 6


def test_a_line_has_what_a_trace_needs_and_no_contents(server: Server):
    answer = post(server, "/predict", ROW, x_request_id="order-7", traceparent=TRACE)
    fields = check_one(server, answer, "/predict", 1)
    assert fields.keys() == {"time", "id", "model", "version", "path", "rows", "trace"}
    assert (fields["id"], fields["trace"]) == ("order-7", TRACE.split("-")[1])


def test_what_is_refused_is_no_prediction(server: Server):
    assert post(server, "/predict", ROW | {"amount": "1"}).status_code == 422
    assert post(server, "/predict", "{").status_code == 400
    assert log_of(server) == []


def test_contents_are_logged_where_that_is_wanted(make_server: MakeServer):
    server = make_server(prediction_log="full")
    server.serve(1)
    pretty = json.dumps(ROW, indent=2)
    answer = post(server, "/predict", pretty)
    fields = check_one(server, answer, "/predict", 1)
    assert (fields["request"], fields["answer"]) == (ROW, answer.json())
    stream = arrow_stream(pa.table(lists_of(ROWS)))
    answer = post(server, "/predict", stream, content_type=ARROW)
    fields = check_one(server, answer, "/predict", 3)
    assert base64.b64decode(fields["request_base64"]) == stream
    assert base64.b64decode(fields["answer_base64"]) == answer.content
    many = json.dumps({"columns": lists_of(ROWS * 1000)})
    fields = check_one(server, post(server, "/predict", many), "/predict", 3000)
    assert fields["request_bytes"] == len(many)
    assert "request" not in fields


def test_off_is_off(make_server: MakeServer):
    server = make_server(prediction_log="off")
    server.serve(1)
    assert post(server, "/predict", ROW).status_code == 200
    assert not (server.folder / "predictions").exists()


def test_a_folder_that_is_gone_costs_lines_and_no_answer(make_server: MakeServer):
    server = make_server()
    server.serve(1)
    (server.folder / "predictions").rmdir()
    assert post(server, "/predict", ROW).status_code == 200
    (server.folder / "predictions").mkdir()
    assert post(server, "/predict", ROW).status_code == 200
    assert len(log_of(server)) == 1
    metrics = server.ask("GET", "/metrics").text
    assert 'modelyard_predictions_logged_total{result="lost"} 1.0' in metrics
    assert 'modelyard_predictions_logged_total{result="written"} 1.0' in metrics
