"""Whatever comes, no answer is a 5xx: inputs made from the contract, and from the documentation."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
)

from modelyard.contract import Contract, Feature, FeatureType
from support.models.toy import CONTRACT, ROW
from support.protocol_requests import ARROW, TENSORS, V2, arrow_stream, strict_json, tensors
from support.serving_app import Server, build_server

JSON = {"content-type": "application/json"}
PATHS = ("/predict", "/invocations", V2)
# the same examples in every run: a failure is a change of ours
bounded = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
contract = Contract.model_validate(CONTRACT)


def good_values(feature: Feature) -> st.SearchStrategy[Any]:
    match feature.type:
        case FeatureType.NUMBER:
            return st.floats(feature.minimum, feature.maximum, allow_nan=False) | st.integers(
                0, 999
            )
        case FeatureType.INTEGER:
            return st.integers(int(feature.minimum or 0), int(feature.maximum or 0))
        case FeatureType.BOOLEAN:
            return st.booleans()
        case FeatureType.CATEGORY:
            return st.sampled_from(feature.categories)
        case FeatureType.STRING:
            return st.text(st.characters(exclude_categories=["Cs"]), max_size=feature.max_length)


good_rows = st.lists(
    st.fixed_dictionaries({f.name: good_values(f) for f in contract.features}),
    min_size=1,
    max_size=5,
)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["grocery", "1.5", "\ud800", "", "FP64", *ROW, "columns", "inputs"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)


class Sender:
    """Asks one server again and again, in one event loop."""

    def __init__(self, server: Server, runner: asyncio.Runner) -> None:
        transport = httpx.ASGITransport(server.app)  # what escapes the application fails the test
        self._client = httpx.AsyncClient(transport=transport, base_url="http://server")
        self._runner = runner

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = self._client.post(path, content=content, headers=JSON | headers)
        return self._runner.run(request)


@pytest.fixture
def sender(server: Server) -> Iterator[Sender]:
    with asyncio.Runner() as runner:
        yield Sender(server, runner)


def bodies(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The same rows for each path and layout."""
    lists = {name: [row[name] for row in rows] for name in rows[0]}
    split = {"columns": list(lists), "data": [[row[name] for name in lists] for row in rows]}
    return {
        "/predict": rows,
        "/predict ": {"columns": lists},
        "/invocations": {"dataframe_split": split},
        "/invocations ": {"inputs": lists},
        V2: {
            "inputs": tensors(
                [{name: row[name] for name in TENSORS if name in row} for row in rows]
            )
        },
    }


def numbers(answer: httpx.Response) -> list[float]:
    body = strict_json(answer)
    if "outputs" in body:
        return body["outputs"][0]["data"]
    return body.get("prediction") or body["predictions"]


@bounded
@given(rows=good_rows)
def test_every_protocol_gives_the_same_answer_for_rows_of_the_contract(
    sender: Sender, rows: list[dict[str, Any]]
):
    answers = []
    for path, body in bodies(rows).items():
        answer = sender.post(path.strip(), body)
        assert answer.status_code == 200, answer.text
        answers.append(numbers(answer))
    answer = sender.post(
        "/predict",
        arrow_stream(pa.Table.from_pylist(rows, ARROW_SCHEMA)),
        **{"content-type": ARROW, "accept": "application/json"},
    )
    answers.append(numbers(answer))
    assert all(found == answers[0] for found in answers)


ARROW_SCHEMA = pa.schema(
    {
        "amount": pa.float64(),
        "merchant_category": pa.string(),
        "hour": pa.int64(),
        "is online": pa.bool_(),
        "note": pa.string(),
    }.items()
)


def check_refusal(answer: httpx.Response) -> None:
    assert answer.status_code in {200, 400, 413, 415, 422}, answer.text
    strict_json(answer)


@bounded
@given(rows=good_rows, field=st.sampled_from([*ROW, "unknown"]), value=anything)
def test_any_value_in_any_field_is_answered_or_refused(
    sender: Sender, rows: list[dict[str, Any]], field: str, value: Any
):
    rows = [*rows[:-1], rows[-1] | {field: value}]
    names = {name for row in rows for name in row}
    whole = [{name: row.get(name) for name in names} for row in rows]
    for path, body in bodies(whole).items():
        check_refusal(sender.post(path.strip(), body))
    for member in ("shape", "datatype", "data", "parameters", "name"):
        check_refusal(sender.post(V2, {"inputs": tensors([ROW], hour={member: value})}))


@bounded
@given(
    value=anything, key=st.sampled_from(["columns", "inputs", "instances", "dataframe_split", "id"])
)
def test_any_json_is_answered_or_refused(sender: Sender, value: Any, key: str):
    for path in PATHS:
        check_refusal(sender.post(path, value))
        check_refusal(sender.post(path, {key: value}))
        check_refusal(sender.post(path, {"inputs": tensors([ROW]), key: value}))


@bounded
@given(body=st.binary(max_size=200), size=st.integers(-1, 200))
def test_any_bytes_are_answered_or_refused(sender: Sender, body: bytes, size: int):
    text = json.dumps({"inputs": tensors([ROW])}).encode()
    for path in PATHS:
        check_refusal(sender.post(path, body))
    check_refusal(sender.post("/predict", body, **{"content-type": ARROW}))
    check_refusal(sender.post("/invocations", body, **{"content-type": "text/csv"}))
    length = {"inference-header-content-length": str(size)}
    check_refusal(sender.post(V2, body, **length))
    check_refusal(
        sender.post(V2, text + body, **{"inference-header-content-length": str(len(text))})
    )
    strings = struct.pack("<I", len(body)) + body
    inputs = tensors([ROW], note={"data": None, "parameters": {"binary_data_size": len(strings)}})
    del inputs[-1]["data"]
    text = json.dumps({"inputs": inputs}).encode()
    length = {"inference-header-content-length": str(len(text))}
    check_refusal(sender.post(V2, text + strings, **length))


@pytest.mark.parametrize("size", ["9" * 5_000, "9" * 30, "-1", "1.5"])
def test_a_length_that_is_no_number_of_bytes_is_refused(sender: Sender, size: str):
    answer = sender.post(V2, b"{}", **{"inference-header-content-length": size})
    assert answer.status_code == 400


HOSTILE: dict[str, Callable[[str], bytes]] = {
    "deep lists": lambda key: f'{{"{key}":'.encode() + b"[" * 250_000,
    "deep objects": lambda key: f'{{"{key}":'.encode() * 100_000,
    "closed deep lists": lambda key: (
        f'{{"{key}":'.encode() + b"[" * 250_000 + b"]" * 250_000 + b"}"
    ),
    "a long number": lambda key: f'{{"{key}": {"9" * 100_000}}}'.encode(),
    "a number of 5,000 digits": lambda key: f'{{"{key}": [{"9" * 5_000}]}}'.encode(),
    "a long key": lambda key: f'{{"{key}": 1, "{"x" * 500_000}": 1}}'.encode(),
    "a lone surrogate as key": lambda key: f'{{"{key}": 1, "\\ud800": 1}}'.encode(),
    "many keys": lambda key: json.dumps({key: 1} | {str(n): n for n in range(20_000)}).encode(),
    "a key twice": lambda key: f'{{"{key}": [], "{key}": []}}'.encode(),
    "bad UTF-8": lambda key: f'{{"{key}": "'.encode() + b'\xff\xfe"}',
    "UTF-16": lambda key: f'{{"{key}": 1}}'.encode("utf-16"),
    "nothing": lambda _: b"",
    "zeros": lambda _: b"\0" * 1000,
    "a bomb of commas": lambda key: f'{{"{key}": ['.encode() + b"[]," * 50_000 + b"[]]}",
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_json_is_refused_by_every_protocol(sender: Sender, hostile: str):
    keys = ("columns", "inputs", "instances", "dataframe_records", "dataframe_split", "amount")
    for path in PATHS:
        for key in keys:
            answer = sender.post(path, HOSTILE[hostile](key))
            assert answer.status_code in {400, 413, 422}, (path, key, answer.text)
            strict_json(answer)
            assert len(answer.content) < 100_000


# -- the documentation ---------------------------------------------------------------------------


CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]


def test_every_documented_operation_keeps_its_word(tmp_path: Path):
    server = build_server(tmp_path)
    server.serve(1)
    document = schemathesis.openapi.from_asgi("/openapi.json", server.app)
    seen = set()
    for found in document.get_all_operations():
        operation = found.ok()
        if operation.path.endswith(("/load", "/unload", "/reload")):
            continue  # they need the token
        cases = operation.as_strategy()

        @settings(bounded, max_examples=25)
        @given(case=cases)
        def keeps_its_word(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=CHECKS)

        keeps_its_word()
        seen.add(operation.label)
    assert {"POST /predict", "POST /invocations", "POST /v2/models/{model}/infer"} <= seen
    assert len(seen) > 12
