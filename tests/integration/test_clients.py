"""Clients from PyPI with their defaults, over a real connection to a real server."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import requests
import tritonclient.http as triton
from mlflow.pyfunc.scoring_server.client import ScoringServerClient
from tritonclient.utils import InferenceServerException

from support.models.model import register_toy
from support.models.toy import ROW
from support.protocol_requests import ARROW, TENSORS, arrow_stream, lists_of, rows_of
from support.serving_support import ServingProcess

NAME = "served-to-clients"
EXPECTED = [1001.0, 1002.5, 1003.0]
ROWS = rows_of(1, 2.5, 3)


@pytest.fixture(scope="module")
def server(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    folder = tmp_path_factory.mktemp("clients")
    register_toy(mlflow_url, NAME, 1, alias="champion")
    uri = f"models:/{NAME}@champion"
    with ServingProcess(folder / "server", mlflow_url, uri) as running:
        running.wait_for_version("1")
        yield running


@pytest.fixture
def url(server: ServingProcess) -> str:
    return f"http://127.0.0.1:{server.port}"


# -- requests ------------------------------------------------------------------------------------


def test_requests(url: str):
    answer = requests.post(f"{url}/predict", json=ROWS, timeout=10)
    assert answer.json()["prediction"] == EXPECTED
    assert answer.headers["X-Model-Version"] == "1"
    columns = requests.post(f"{url}/predict", json={"columns": lists_of(ROWS)}, timeout=10)
    assert columns.json()["prediction"] == EXPECTED
    refused = requests.post(f"{url}/predict", json=ROW | {"amount": "1"}, timeout=10)
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"loc": ["body", "amount"], "msg": "must be a number"}]


def test_requests_with_pandas_and_arrow(url: str):
    frame = pd.DataFrame(ROWS)
    stream = arrow_stream(pa.Table.from_pandas(frame, preserve_index=False))
    answer = requests.post(
        f"{url}/predict", data=stream, headers={"Content-Type": ARROW}, timeout=10
    )
    assert pa.ipc.open_stream(answer.content).read_pandas()["answer"].tolist() == EXPECTED
    frame["merchant_category"] = frame["merchant_category"].astype("category")
    stream = arrow_stream(pa.Table.from_pandas(frame, preserve_index=False))
    answer = requests.post(
        f"{url}/predict", data=BytesIO(stream), headers={"Content-Type": ARROW}, timeout=10
    )
    assert pa.ipc.open_stream(answer.content).read_pandas()["answer"].tolist() == EXPECTED


def test_a_hundred_thousand_rows_in_one_call(url: str):
    frame = pd.DataFrame(ROWS * 33_334)[:100_000]
    columns = requests.post(
        f"{url}/predict", json={"columns": frame.to_dict(orient="list")}, timeout=60
    )
    assert columns.status_code == 200, columns.text[:300]
    expected = (EXPECTED * 33_334)[:100_000]
    assert columns.json()["prediction"] == expected
    stream = arrow_stream(pa.Table.from_pandas(frame, preserve_index=False))
    answer = requests.post(
        f"{url}/predict", data=stream, headers={"Content-Type": ARROW}, timeout=60
    )
    assert pa.ipc.open_stream(answer.content).read_all()["answer"].to_pylist() == expected


# -- MLflow --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [pd.DataFrame(ROWS), ROWS], ids=["frame", "list of rows"])
def test_mlflows_scoring_client(server: ServingProcess, data: Any):
    client = ScoringServerClient("127.0.0.1", server.port)
    client.wait_server_ready(timeout=10)
    assert client.get_version() == mlflow.__version__
    assert client.invoke(data)["predictions"] == EXPECTED
    if isinstance(data, pd.DataFrame):
        frame = client.invoke(data, params={"temperature": 1}).get_predictions()
        assert frame[0].tolist() == EXPECTED
        missing = data.astype({"amount": float})
        missing.loc[1, "amount"] = None  # the client writes NaN, which is no JSON
        with pytest.raises(Exception, match=r"amount \(row 1\): must be finite"):
            client.invoke(missing)


@pytest.mark.parametrize("index", [True, False])
def test_pandas_payloads(url: str, index: bool):
    frame = pd.DataFrame(ROWS)
    text = frame.to_csv(index=index)
    headers = {"Content-Type": "text/csv"}
    answer = requests.post(f"{url}/invocations", data=text, headers=headers, timeout=10)
    assert answer.json() == {"predictions": EXPECTED}
    split = json.dumps({"dataframe_split": json.loads(frame.to_json(orient="split"))})
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = requests.post(f"{url}/invocations", data=split, headers=headers, timeout=10)
    assert answer.json() == {"predictions": EXPECTED}


# -- tritonclient --------------------------------------------------------------------------------


@pytest.fixture
def client(server: ServingProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as made:
        yield made


def inputs(rows: list[dict[str, Any]], **options: Any) -> list[triton.InferInput]:
    """One tensor a feature, as clients make them of rows."""
    made = []
    for name, values in lists_of(rows).items():
        kind = np.object_ if TENSORS[name] == "BYTES" else triton.triton_to_np_dtype(TENSORS[name])
        tensor = triton.InferInput(name, [len(rows), 1], TENSORS[name])
        tensor.set_data_from_numpy(np.array(values, kind).reshape(-1, 1), **options)
        made.append(tensor)
    return made


def test_tritonclient_with_its_defaults(client: triton.InferenceServerClient):
    result = client.infer(NAME, inputs(ROWS))
    assert result.as_numpy("answer").tolist() == EXPECTED
    assert result.get_response()["model_version"] == "1"


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("sent", [True, False])
def test_tritonclient_in_json_and_in_binary(
    client: triton.InferenceServerClient, sent: bool, asked: bool
):
    outputs = [triton.InferRequestedOutput("answer", binary_data=asked)]
    result = client.infer(
        NAME,
        inputs(ROWS, binary_data=sent),
        model_version="1",
        outputs=outputs,
        request_id="mine",
        headers={"x-request-id": "abc"},
    )
    assert result.as_numpy("answer").tolist() == EXPECTED
    assert result.get_response()["id"] == "mine"
    assert ("parameters" in result.get_output("answer")) is asked


def test_tritonclient_asynchronously(client: triton.InferenceServerClient):
    jobs = [client.async_infer(NAME, inputs(rows_of(n))) for n in range(20)]
    answers = [job.get_result().as_numpy("answer")[0] for job in jobs]
    assert answers == [1000.0 + n for n in range(20)]


def test_tritonclient_asks_about_server_and_model(client: triton.InferenceServerClient):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(NAME)
    assert client.is_model_ready(NAME, "1")
    assert not client.is_model_ready("other")
    assert not client.is_model_ready(NAME, "99")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    metadata = client.get_model_metadata(NAME)
    assert {tensor["name"]: tensor["datatype"] for tensor in metadata["inputs"]} == TENSORS
    (entry,) = client.get_model_repository_index()
    assert entry == {"name": NAME, "version": "1", "state": "READY", "reason": ""}


def test_tritonclient_reads_refusals(client: triton.InferenceServerClient):
    with pytest.raises(InferenceServerException, match=r"amount \(row 0\): must be at most 999"):
        client.infer(NAME, inputs(rows_of(1000.0)))
    with pytest.raises(InferenceServerException, match="served here, and no other"):
        client.infer("other", inputs(ROWS))
    with pytest.raises(InferenceServerException, match="amount: is required"):
        client.infer(NAME, inputs(ROWS)[1:])
    with pytest.raises(InferenceServerException, match="Authorization"):
        client.load_model(NAME)
    token = {"Authorization": "Bearer sesame"}
    client.load_model(NAME, headers=token)
    with pytest.raises(InferenceServerException, match="Move the alias"):
        client.unload_model(NAME, headers=token)


# -- what no client should send --------------------------------------------------------------------


def resident_bytes(url: str) -> float:
    for line in requests.get(f"{url}/metrics", timeout=10).text.splitlines():
        if line.startswith("process_resident_memory_bytes "):
            return float(line.split()[1])
    raise AssertionError("no such metric")


def test_memory_is_flat_under_deep_and_endless_bodies(url: str, server: ServingProcess):
    deep = [b"[" * 250_000, b'{"columns":' + b"[" * 250_000, b'{"inputs":' * 90_000]
    paths = ("/predict", "/invocations", f"/v2/models/{NAME}/infer")
    headers = {"Content-Type": "application/json"}

    def ask_all() -> None:
        for path in paths:
            for body in deep:
                answer = requests.post(f"{url}{path}", data=body, headers=headers, timeout=30)
                assert answer.status_code == 400
        for path in paths:
            assert endless(server.port, path, b" " * 65536) == 413
        columns = b'{"columns": {"amount": ['
        assert endless(server.port, "/predict", b"1," * 32768, columns) == 413

    ask_all()  # what the process keeps for itself once
    before = resident_bytes(url)
    for _ in range(3):
        ask_all()
    assert resident_bytes(url) < before + 48 * 2**20
    assert requests.post(f"{url}/predict", json=ROW, timeout=10).status_code == 200


def endless(port: int, path: str, piece: bytes, first: bytes = b"") -> int:
    """The status that comes while a chunked body goes on and on, up to 2 GiB."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        connection.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        chunks = [chunk for chunk in (first, piece) if chunk]
        framed = [b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks]
        with suppress(ConnectionError):
            connection.sendall(framed[0])
            for _ in range(2**31 // len(piece)):
                connection.sendall(framed[-1])
        answer = http.client.HTTPResponse(connection)
        with suppress(ConnectionError):
            answer.begin()
        return answer.status


def test_a_trace_and_an_id_go_through_to_the_answer_and_the_log(url: str, server: ServingProcess):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {"traceparent": trace, "X-Request-Id": f"order-{time.time_ns()}"}
    answer = requests.post(f"{url}/predict", json={}, headers=headers, timeout=10)
    assert answer.status_code == 422
    assert answer.headers["traceparent"] == trace
    (line,) = [x for x in server.log() if x.get("request_id") == headers["X-Request-Id"]]
    assert line["trace_id"] == trace.split("-")[1]
    assert "invalid-input" in line["message"]


def test_monitors_may_ask_with_head(url: str):
    with requests.Session() as session:
        for path in (
            "/health",
            "/livez",
            "/model",
            "/metrics",
            "/ping",
            "/v2/health/ready",
            "/docs",
        ):
            whole = session.get(f"{url}{path}", timeout=10)
            head = session.head(f"{url}{path}", timeout=10)
            assert (head.status_code, head.content) == (200, b""), path
            assert head.headers["content-type"] == whole.headers["content-type"]
            assert head.headers["x-request-id"]
        assert session.head(f"{url}/nothing", timeout=10).status_code == 404
        assert session.head(f"{url}/predict", timeout=10).status_code == 405
