"""The prediction log, as the server writes it."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pyarrow as pa
import pytest

from modelyard.errors import ConfigError
from support.connections import Wire, busy, one, over_the_wire, read_answer, request
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


class Log:
    """The folder of a server's log, which can be taken away and given back."""

    def __init__(self, server: Server) -> None:
        self._folder = server.folder / "predictions"
        self._recorder = server.app.direct._ledger._recorder

    def take_away(self) -> None:
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()
        self._recorder._writer.close()

    def give_back(self) -> None:
        self._folder.mkdir()
        self._recorder._looks_at = 0.0  # the second between two looks has passed


def test_lost_lines_are_said_until_lines_are_written_again(server: Server):
    post(server, "/predict", ROW)
    log = Log(server)
    log.take_away()
    assert server.ask("GET", "/health").json() == {"status": "healthy"}  # nothing was lost yet
    assert post(server, "/predict", ROW).status_code == 200
    health = server.ask("GET", "/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert health.json()["reasons"] == ["Predictions are not logged: No such file or directory."]
    said = server.ask("GET", "/model").json()
    assert said["health"]["status"] == "degraded"
    assert (said["prediction_log"]["written"], said["prediction_log"]["lost"]) == (1, 1)
    assert said["prediction_log"]["last_lost_at"]
    metrics = server.ask("GET", "/metrics").text
    assert "modelyard_prediction_log_failing 1.0" in metrics
    assert "modelyard_prediction_log_lost_timestamp_seconds 0.0" not in metrics
    log.give_back()
    assert server.ask("GET", "/health").json() == {"status": "healthy"}  # without any request
    assert log_of(server) == []  # a look leaves no line
    assert "modelyard_prediction_log_failing 0.0" in server.ask("GET", "/metrics").text
    post(server, "/predict", ROW)
    assert len(log_of(server)) == 1


def test_where_a_line_is_required_there_is_no_answer_without_one(make_server: MakeServer):
    server = make_server(prediction_log_required=True)
    server.serve(1)
    assert one(server, request(ROW))[0].status == 200
    assert len(log_of(server)) == 1  # one(…) closed the connection; the line was there before
    log = Log(server)
    log.take_away()
    for path, body in (
        ("/predict", ROW),
        ("/invocations", {"inputs": [ROW]}),
        (V2, {"inputs": tensors([ROW])}),
    ):
        assert one(server, request(body, path))[0].status == 503
        answer = post(server, path, body)
        assert answer.status_code == 503
        assert "No such file or directory" in answer.text
        assert "SERVING_PREDICTION_LOG_DIR" in answer.text
    for readiness in ("/health", "/ping", "/v2/health/ready"):
        assert server.ask("GET", readiness).status_code == 503
    metrics = server.ask("GET", "/metrics").text
    assert 'modelyard_refusals_total{reason="not-logged"} 6.0' in metrics
    assert 'modelyard_predictions_logged_total{result="lost"} 0.0' in metrics
    assert 'modelyard_requests_total{route="/predict",status="200"} 1.0' in metrics
    assert "modelyard_prediction_scores_count 1.0" in metrics
    log.give_back()
    assert server.ask("GET", "/health").json() == {"status": "healthy"}
    assert one(server, request(ROW))[0].status == 200
    assert len(log_of(server)) == 1


def test_in_a_tick_each_answer_waits_for_its_own_required_line(make_server: MakeServer):
    server = make_server(prediction_log_required=True)
    server.serve(1)

    async def work(wire: Wire) -> list[int]:
        ends = await busy(wire, 6)
        Log(server).take_away()
        for connection in wire.connections:
            connection.data_received(request(ROW))
        return [(await read_answer(reader)).status for reader, _ in ends]

    assert over_the_wire(server, work) == [503] * 6
    metrics = server.ask("GET", "/metrics").text
    assert 'modelyard_requests_total{route="/predict",status="200"} 12.0' in metrics
    assert 'modelyard_requests_total{route="/predict",status="503"} 6.0' in metrics
    assert "modelyard_in_flight 0.0" in metrics


def test_a_log_that_is_required_and_off_stops_the_start(make_server: MakeServer):
    with pytest.raises(ConfigError, match="nothing could ever be answered"):
        make_server(prediction_log="off", prediction_log_required=True)
