"""Limits of every protocol: strings, depth, batches at once; and what is seen of them."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx
import pyarrow as pa
import pytest

from modelyard.logs import JsonLines
from support.models.toy import CONTRACT, ROW, contract_with
from support.protocol_requests import ARROW, V2, arrow_stream, lists_of, post, tensors
from support.serving_app import MakeServer, Server

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def in_every_form(server: Server, row: dict[str, Any]) -> list[httpx.Response]:
    """`row` in each protocol."""
    stream = arrow_stream(pa.table(lists_of([row])))
    return [
        post(server, "/predict", row),
        post(server, "/predict", {"columns": lists_of([row])}),
        post(server, "/predict", stream, content_type=ARROW),
        post(server, "/invocations", {"instances": [row]}),
        post(server, V2, {"inputs": tensors([row])}),
    ]


def test_no_string_is_longer_than_the_servers_limit(make_server: MakeServer):
    server = make_server(max_string_length=20)
    features = [dict(feature) for feature in CONTRACT["features"]]
    features[-1]["max_length"] = 100_000
    server.serve(1, contract=contract_with(features=features))
    for answer in in_every_form(server, ROW | {"note": "x" * 20}):
        assert answer.status_code == 200
    for answer in in_every_form(server, ROW | {"note": "x" * 21}):
        assert answer.status_code in {400, 422}
        assert "must have at most 20 characters" in answer.text


def test_the_depth_that_is_taken_is_a_setting(make_server: MakeServer):
    server = make_server(max_depth=4)
    server.serve(1)
    for answer in in_every_form(server, ROW):
        assert answer.status_code == 200
    for path, key in (("/predict", "columns"), ("/invocations", "instances"), (V2, "inputs")):
        answer = post(server, path, {key: [[[[[]]]]]})
        assert answer.status_code == 400
        assert "nested more than 4 levels" in answer.text


@pytest.mark.parametrize("kind", [ARROW, "application/json"])
def test_batches_beyond_the_limit_are_told_to_come_again(make_server: MakeServer, kind: str):
    server = make_server(max_batch_concurrency=2, max_body_bytes=1024)
    server.serve(1)
    many = lists_of([ROW] * 200)
    body = arrow_stream(pa.table(many)) if kind == ARROW else json.dumps({"columns": many}).encode()
    release = asyncio.Event()

    async def slow():
        yield body[:2000]
        await release.wait()
        yield body[2000:]

    async def main(client: httpx.AsyncClient) -> list[int]:
        headers = {"content-type": kind}
        ask = client.post
        held = [
            asyncio.create_task(ask("/predict", content=slow(), headers=headers)) for _ in range(2)
        ]
        while len(server.app._predict._batches) < 2:  # noqa: ASYNC110 - the set knows no event
            await asyncio.sleep(0)
        refused = await ask("/predict", content=body, headers=headers)
        assert refused.headers["retry-after"]
        small = await ask("/predict", json=ROW)
        release.set()
        answers = [
            *await asyncio.gather(*held),
            await ask("/predict", content=body, headers=headers),
        ]
        return [answer.status_code for answer in (refused, small, *answers)]

    assert server.run(main) == [503, 200, 200, 200, 200]
    assert not server.app._predict._batches


@pytest.mark.parametrize("path", ["/predict", V2])
def test_small_requests_in_a_form_for_batches_are_no_batches(make_server: MakeServer, path: str):
    server = make_server(max_batch_concurrency=1)
    server.serve(1)
    if path == V2:
        body = json.dumps({"inputs": tensors([ROW])}).encode()
        headers = {"inference-header-content-length": str(len(body))}
    else:
        body, headers = arrow_stream(pa.table(lists_of([ROW]))), {"content-type": ARROW}

    async def main(client: httpx.AsyncClient) -> set[int]:
        jobs = (client.post(path, content=body, headers=headers) for _ in range(40))
        return {answer.status_code for answer in await asyncio.gather(*jobs)}

    assert server.run(main) == {200}


# -- seen from outside ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/predict", "/livez", "/nothing", "/invocations", V2])
def test_a_trace_is_passed_on_when_it_is_one(server: Server, path: str):
    for given, kept in [
        (TRACE, True),
        (TRACE.upper(), False),
        (TRACE + "-x", False),
        ("00-" + "0" * 32 + TRACE[35:], False),
        ("ff" + TRACE[2:], False),
        ("\r\n", False),
        ("", False),
    ]:
        headers = {"traceparent": given.strip(), "content-type": "application/json"}
        answer = server.ask("POST", path, content=b"{}", headers=headers)
        assert answer.headers.get("traceparent", "") == (given if kept else "")


def test_a_refusal_is_one_line_with_its_id_and_trace_and_without_its_values(
    server: Server, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    headers = {"x_request_id": "order-7", "traceparent": TRACE}
    post(server, "/predict", ROW | {"amount": "secret-value"}, **headers)
    (record,) = [r for r in caplog.records if r.name.startswith("modelyard")]
    line = json.loads(JsonLines().format(record))
    assert line["request_id"] == "order-7"
    assert line["trace_id"] == TRACE.split("-")[1]
    assert line["message"] == "/predict answered 422: invalid-input"
    assert "secret" not in json.dumps(line)


def test_probes_and_predictions_make_no_lines_and_admin_does(
    server: Server, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    for path in ("/health", "/livez", "/ping", "/metrics", "/v2/health/ready", "/model"):
        server.ask("GET", path)
    post(server, "/predict", ROW)
    server.ask("POST", "/nothing")
    assert [r.getMessage() for r in caplog.records if r.name.startswith("modelyard")] == []
    server.ask("POST", "/admin/reload")
    assert "POST /admin/reload answered 401" in caplog.text


def test_every_protocol_counts_under_its_own_path_and_reason(server: Server):
    in_every_form(server, ROW)
    in_every_form(server, ROW | {"amount": -1})
    post(server, "/predict", b"{")
    post(server, V2, b"{")
    for model in ("toy", "a", "b"):
        server.ask("GET", f"/v2/models/{model}")
    text = server.ask("GET", "/metrics").text
    for line in (
        'modelyard_requests_total{route="/predict",status="200"} 3.0',
        'modelyard_requests_total{route="/predict",status="422"} 3.0',
        'modelyard_requests_total{route="/invocations",status="400"} 1.0',
        'modelyard_requests_total{route="/v2/models/{model}/infer",status="400"} 2.0',
        'modelyard_requests_total{route="/v2/models/{model}",status="404"} 2.0',
        'modelyard_predict_seconds_count{route="/invocations"} 2.0',
        'modelyard_refusals_total{reason="invalid-input"} 5.0',
        'modelyard_refusals_total{reason="malformed-json"} 2.0',
        "modelyard_last_swap_succeeded 1.0",
    ):
        assert line in text.splitlines(), line
