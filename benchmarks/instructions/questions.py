"""What each route is asked: the same bytes for both trees."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from benchmarks.serving import dialects
from benchmarks.serving.dialects import Dialect, Row

SMALL, CHILD = "small", "pyfunc"
PACKAGES = {SMALL: "onnx", CHILD: "pyfunc"}
"""Registered model → its package: an ONNX graph; a pyfunc, which runs in a child process."""

_OK, _UNPROCESSABLE = 200, 422
_MANY_ROWS = 100
_CATEGORIES = ("electronics", "fuel")


@dataclass(frozen=True)
class Question:
    """One route, asked in one way.

    Args:
        requests: in one count; few where one takes long.
        connections: over which it comes at the same moment; 1: one request after the other.
    """

    name: str
    model: str
    request: bytes
    status: int = _OK
    requests: int = 64
    connections: int = 1


def questions() -> list[Question]:
    """All of them."""
    one, many = _rows(1), _rows(_MANY_ROWS)
    predict, invocations = dialects.native(), dialects.invocations()
    few = 16
    return [
        Question("predict-row", SMALL, _ask(predict, one)),
        Question("predict-64", SMALL, _ask(predict, one), requests=1024, connections=64),
        Question("predict-100", SMALL, _ask(predict, many), requests=few),
        Question("predict-columns", SMALL, _post("/predict", _columns(many)), requests=few),
        Question("predict-arrow", SMALL, _arrow(many), requests=few),
        Question(
            "predict-refused", SMALL, _ask(predict, [{**one[0], "amount": "12"}]), _UNPROCESSABLE
        ),
        Question("invocations-split", SMALL, _ask(invocations, many), requests=few),
        Question(
            "invocations-records",
            SMALL,
            _post("/invocations", {"dataframe_records": many}),
            requests=few,
        ),
        Question("v2-json", SMALL, _ask(dialects.v2(SMALL), one)),
        Question("v2-binary", SMALL, _ask(dialects.v2_binary(SMALL), one)),
        Question("child-row", CHILD, _ask(predict, one)),
    ]


def _rows(number: int) -> list[Row]:
    return [
        {"amount": 500.5 + i, "merchant_category": _CATEGORIES[i % 2], "hour": (23 + i) % 24}
        for i in range(number)
    ]


def _columns(rows: list[Row]) -> Any:
    return {"columns": {name: [row[name] for row in rows] for name in rows[0]}}


def _ask(dialect: Dialect, rows: list[Row]) -> bytes:
    return dialect.request(0, rows)


def _post(path: str, body: Any) -> bytes:
    content = json.dumps(body, separators=(",", ":")).encode()
    return _request(path, "application/json", content)


def _arrow(rows: list[Row]) -> bytes:
    table = pa.Table.from_pylist(rows)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return _request("/predict", "application/vnd.apache.arrow.stream", stream.getvalue())


def _request(path: str, content_type: str, content: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content
