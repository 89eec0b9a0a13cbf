"""The Open Inference Protocol V2: JSON tensors, binary tensors, metadata, the repository."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from modelyard import __version__
from support.models.toy import CONTRACT, ROW
from support.protocol_requests import TENSORS, V2, post, rows_of, strict_json, tensors
from support.serving_app import TOKEN, MakeServer, Server

ROWS = rows_of(1, 2.5)
LENGTH = "inference-header-content-length"


def check_error(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    error = strict_json(answer)
    assert error.keys() == {"error"}
    assert answer.headers["content-type"] == "application/json"
    return error["error"]


def ask(server: Server, inputs: list[dict[str, Any]], **members: Any) -> httpx.Response:
    return post(server, V2, {"inputs": inputs, **members})


def binary(rows: list[dict[str, Any]], **request: Any) -> tuple[bytes, dict[str, str]]:
    """Body and headers as tritonclient makes them of rows."""
    inputs = []
    for tensor in tensors(rows):
        kind = {"BYTES": object}.get(tensor["datatype"]) or triton.triton_to_np_dtype(
            tensor["datatype"]
        )
        made = triton.InferInput(tensor["name"], tensor["shape"], tensor["datatype"])
        made.set_data_from_numpy(np.array(tensor["data"], dtype=kind))
        inputs.append(made)
    body, size = triton.InferenceServerClient.generate_request_body(inputs, **request)
    return body, {LENGTH: str(size)} if size is not None else {}


def test_tensors_in_json_are_answered_in_json(server: Server):
    answer = ask(server, tensors(ROWS), id="42", parameters={"priority": 1})
    assert strict_json(answer) == {
        "model_name": "toy",
        "model_version": "1",
        "id": "42",
        "outputs": [{"name": "answer", "shape": [2], "datatype": "FP64", "data": [1001.0, 1002.5]}],
    }
    assert answer.headers["x-model-version"] == "1"
    assert "id" not in ask(server, tensors(ROWS)).json()
    assert post(server, "/v2/models/toy/versions/1/infer", {"inputs": tensors(ROWS)}).is_success


@pytest.mark.parametrize(
    "change",
    [
        {"amount": {"shape": [2, 1], "data": [[1], [2.5]]}},
        {"amount": {"shape": [2, 1], "data": [1, 2.5]}},
        {"amount": {"datatype": "FP32"}},
        {"amount": {"datatype": "FP16"}},
        {"amount": {"datatype": "INT8", "data": [1, 2]}},
        {"hour": {"datatype": "UINT8"}},
        {"hour": {"datatype": "INT32", "parameters": {"anything": True}}},
        {"hour": {"parameters": None}},
    ],
    ids=str,
)
def test_shapes_and_datatypes_that_can_be_widened_are_taken(server: Server, change: dict[str, Any]):
    assert ask(server, tensors(ROWS, **change)).status_code == 200


def test_binary_tensors_are_answered_in_binary_when_asked(server: Server):
    body, headers = binary(ROWS, request_id="7")
    answer = post(server, V2, body, content_type="application/octet-stream", **headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/octet-stream"
    size = int(answer.headers[LENGTH])
    result = triton.InferResult.from_response_body(answer.content, header_length=size)
    assert result.as_numpy("answer").tolist() == [1001.0, 1002.5]
    assert result.get_response()["id"] == "7"


def test_each_output_says_for_itself_how_it_is_wanted(server: Server):
    for wanted in (True, False):
        outputs = [triton.InferRequestedOutput("answer", binary_data=wanted)]
        body, headers = binary(ROWS, outputs=outputs)
        answer = post(server, V2, body, **headers)
        assert (LENGTH in answer.headers) is wanted
    both = ask(
        server,
        tensors(ROWS),
        parameters={"binary_data_output": True},
        outputs=[{"name": "answer", "parameters": {"binary_data": False}}],
    )
    assert both.json()["outputs"][0]["data"] == [1001.0, 1002.5]


def test_json_and_binary_tensors_may_stand_side_by_side(server: Server):
    amounts = struct.pack("<2d", 1, 2.5)
    inputs = tensors(ROWS)
    del inputs[0]["data"]
    inputs[0]["parameters"] = {"binary_data_size": len(amounts)}
    text = json.dumps({"inputs": inputs}).encode()
    answer = post(server, V2, text + amounts, **{LENGTH: str(len(text))})
    assert answer.json()["outputs"][0]["data"] == [1001.0, 1002.5]


FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"amount": {"data": [1]}}, "The input amount must have as many values as its shape says, 2"),
    ({"amount": {"data": ["1", "2"]}}, "The input amount must have values of its datatype"),
    ({"amount": {"data": [True, False]}}, "The input amount must have values of its datatype"),
    ({"amount": {"data": 1}}, "The input amount must have its values in a list"),
    ({"amount": {"data": None}}, "The input amount must have its values in a list"),
    ({"amount": {"data": [1, None]}}, "The input amount must have values of its datatype"),
    ({"amount": {"data": [1, 1000]}}, "amount (row 1): must be at most 999."),
    ({"amount": {"data": [1, 10**30]}}, "amount (row 1): must be at most 999."),
    ({"amount": {"data": [1, 1e39], "datatype": "FP32"}}, "amount (row 1): must be finite."),
    ({"amount": {"shape": [3]}}, "The input amount must have as many values as its shape says, 3"),
    ({"amount": {"shape": []}}, "The input amount must have the shape [rows] or [rows, 1]"),
    ({"amount": {"shape": [1, 2]}}, "The input amount must have the shape [rows] or [rows, 1]"),
    ({"amount": {"shape": [-1]}}, "The input amount must have the shape"),
    ({"amount": {"shape": [True]}}, "The input amount must have the shape"),
    ({"amount": {"shape": "2"}}, "The input amount must have the shape"),
    ({"amount": {"shape": [2.0]}}, "The input amount must have the shape"),
    ({"amount": {"shape": [10**12]}}, "at most 1000 rows"),
    ({"amount": {"datatype": "FP128"}}, "The input amount must have one of the datatypes BOOL"),
    ({"amount": {"datatype": ["FP64"]}}, "The input amount must have one of the datatypes BOOL"),
    ({"amount": {"datatype": "BYTES", "data": ["1", "2"]}}, "amount: must be a column of numbers."),
    ({"hour": {"datatype": "FP64"}}, "hour: must be a column of whole numbers."),
    ({"hour": {"data": [1.0, 2.0]}}, "The input hour must have values of its datatype"),
    ({"hour": {"data": [300, 1], "datatype": "INT8"}}, "The input hour must have values of its"),
    ({"hour": {"data": [2**63, 1], "datatype": "UINT64"}}, "hour (row 0): is too large."),
    (
        {"is online": {"datatype": "INT64", "data": [1, 0]}},
        "is online: must be a column of booleans.",
    ),
    ({"note": {"data": ["a", "123456789"]}}, "note (row 1): must have at most 8 characters."),
    (
        {"merchant_category": {"data": ["grocery", "x"]}},
        "merchant_category (row 1): must be one of",
    ),
    (
        {"amount": {"name": "amonut"}},
        "The input amonut is not one of this model's; expected amount,",
    ),
    ({"amount": {"name": "hour"}}, "The input hour appears more than once"),
    ({"amount": {"name": None}}, "must be an object with a name"),
    ({"amount": {"parameters": []}}, "The input amount must have its parameters in an object"),
    ({"amount": {"parameters": {"binary_data_size": 16}}}, "as many bytes after the JSON"),
    ({name: {"shape": [0], "data": []} for name in TENSORS}, "must hold at least one row"),
    ({"amount": {"shape": [1], "data": [1]}}, "Every input must have the same number of rows"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS, ids=str)
def test_a_faulty_tensor_is_named(server: Server, changes: dict[str, Any], message: str):
    error = check_error(
        ask(server, tensors(ROWS, **changes)),
        413 if "rows" in message and "at most" in message else 400,
    )
    assert message in error


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "it is empty"),
        (b"{", "must be JSON"),
        (b"[]", 'list of "inputs"'),
        ({"inputs": {}}, 'list of "inputs"'),
        ({"inputs": [1]}, "an object with a name"),
        ({"inputs": []}, "amount: is required."),
        ({"inputs": tensors(ROWS)[1:]}, "amount: is required."),
        ({"inputs": tensors(ROWS), "id": 7}, "The id must be a string"),
        ({"inputs": tensors(ROWS), "outputs": {}}, "The outputs must be a list"),
        ({"inputs": tensors(ROWS), "outputs": [{"name": "x"}]}, "the name of one: answer"),
        ({"inputs": tensors(ROWS), "outputs": ["answer"]}, "the name of one: answer"),
        (
            {
                "inputs": tensors(ROWS),
                "outputs": [{"name": "answer", "parameters": {"classification": 2}}],
            },
            "classification extension",
        ),
        (
            {"inputs": tensors(ROWS), "parameters": {"binary_data_output": 1}},
            "must be true or false",
        ),
        ({"inputs": tensors(ROWS), "parameters": 1}, "its parameters in an object"),
        (b'{"inputs": [], "inputs": []}', "inputs appears more than once"),
        (b'{"inputs": ' + b"[" * 40 + b"]" * 40 + b"}", "nested more than 32"),
        (json.dumps({"inputs": tensors(rows_of(float("nan")))}), "amount (row 0): must be finite."),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_request_is_refused(server: Server, body: Any, message: str):
    assert message in check_error(post(server, V2, body), 400)


def test_bytes_that_do_not_fit_are_refused(server: Server):
    body, headers = binary(ROWS)
    size = int(headers[LENGTH])
    strings = body[size:].index(b"grocery") + size
    for damaged, length in [
        (body[:-1], size),
        (body + b"x", size),
        (body, size + 1),
        (body, len(body) + 1),
        (body, 0),
        (body, "x"),
        (body, "-1"),
        (body[: strings - 4] + b"\xff\xff\xff\x7f" + body[strings:], size),
        (body[:strings] + b"\xff" + body[strings + 1 :], size),
        (body[: strings - 4] + b"\x00\x00\x00\x00" + body[strings:], size),
    ]:
        check_error(post(server, V2, damaged, **{LENGTH: str(length)}), 400)


def test_other_models_versions_types_and_methods(make_server: MakeServer):
    server = make_server()
    check_error(ask(server, tensors(ROWS)), 503)
    server.serve(1)
    for path in ("/v2/models/other/infer", "/v2/models/toy/versions/2/infer"):
        check_error(post(server, path, {"inputs": tensors(ROWS)}), 404)
    check_error(post(server, V2, "x", content_type="text/plain"), 415)
    check_error(server.ask("GET", V2), 405)
    check_error(server.ask("GET", "/v2/nothing"), 404)


def test_limits_hold(make_server: MakeServer):
    server = make_server(max_rows=2, max_body_bytes=1024, max_batch_rows=50)
    server.serve(1)
    check_error(post(server, V2, b" " * 1025), 413)
    rows = rows_of(*range(50))
    body, headers = binary(rows)
    assert post(server, V2, body, **headers).status_code == 200
    body, headers = binary([*rows, ROW])
    assert "at most 50 rows" in check_error(post(server, V2, body, **headers), 413)


# -- metadata and repository ---------------------------------------------------------------------


def test_metadata(make_server: MakeServer):
    server = make_server()
    assert server.ask("GET", "/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", "/v2/models/toy", "/v2/models/toy/ready"):
        check_error(server.ask("GET", path), 503)
    entry = server.ask("POST", "/v2/repository/index").json()[0]
    assert (entry["name"], entry["state"]) == ("toy", "UNAVAILABLE")
    assert entry["reason"]
    server.serve(3)
    for path in ("/v2", "/v2/"):
        assert "binary_tensor_data" in server.ask("GET", path).json()["extensions"]
        assert server.ask("GET", path).json()["version"] == __version__
    for path in ("/v2/health/ready", "/v2/models/toy/ready", "/v2/models/toy/versions/3/ready"):
        assert server.ask("GET", path).status_code == 200
    for path in ("/v2/models/toy", "/v2/models/toy/versions/3"):
        metadata = server.ask("GET", path).json()
        assert metadata["versions"] == ["3"]
        assert [t["name"] for t in metadata["inputs"]] == [f["name"] for f in CONTRACT["features"]]
        assert {t["name"]: t["datatype"] for t in metadata["inputs"]} == TENSORS
        assert metadata["outputs"] == [{"name": "answer", "datatype": "FP64", "shape": [-1]}]
    for path in ("/v2/models/x", "/v2/models/x/ready", "/v2/models/toy/versions/1"):
        check_error(server.ask("GET", path), 404)
    for content in (b"", b"{}", b'{"ready": true}'):
        index = server.ask("POST", "/v2/repository/index", content=content).json()
        assert index == [{"name": "toy", "version": "3", "state": "READY", "reason": ""}]


def test_load_and_unload_are_admin_actions(make_server: MakeServer):
    server = make_server()
    server.registry.add(4)
    bearer = {"authorization": f"Bearer {TOKEN}"}
    for action in ("load", "unload"):
        path = f"/v2/repository/models/toy/{action}"
        check_error(server.ask("POST", path), 401)
        check_error(server.ask("POST", path, headers={"authorization": "Bearer x"}), 403)
        other = path.replace("toy", "other")
        check_error(server.ask("POST", other, headers=bearer), 404)

    async def main() -> tuple[httpx.Response, httpx.Response]:
        async with server.following() as client:
            loaded = await client.post("/v2/repository/models/toy/load", headers=bearer)
            return loaded, await client.post("/v2/repository/models/toy/unload", headers=bearer)

    loaded, unloaded = asyncio.run(main())
    assert loaded.status_code == 200
    assert loaded.headers["x-model-version"] == "4"
    assert "Move the alias" in check_error(unloaded, 409)
