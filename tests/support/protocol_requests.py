"""Requests in every protocol, and what holds for their answers."""

from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import httpx
import pyarrow as pa

from support.models.toy import ROW
from support.serving_app import Server

ARROW = "application/vnd.apache.arrow.stream"
V2 = "/v2/models/toy/infer"
TENSORS = {
    "amount": "FP64",
    "merchant_category": "BYTES",
    "hour": "INT64",
    "is online": "BOOL",
    "note": "BYTES",
}


def strict_json(answer: httpx.Response) -> Any:
    """The body as JSON; NaN and its like are none."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(answer.text, parse_constant=refuse)


def rows_of(*amounts: Any) -> list[dict[str, Any]]:
    """Good rows that differ in their amount."""
    return [ROW | {"amount": amount} for amount in amounts]


def lists_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows by column."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def post(server: Server, path: str, body: Any, **headers: str) -> httpx.Response:
    """Post `body`: bytes and text as they are, anything else as JSON."""
    content = body if isinstance(body, bytes | str) else json.dumps(body)
    given = {"content-type": "application/json"} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    return server.ask("POST", path, content=content, headers=given)


def tensors(rows: list[dict[str, Any]], **changes: dict[str, Any]) -> list[dict[str, Any]]:
    """V2 inputs of rows; a change replaces members of the tensor of that name."""
    return [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": TENSORS[name],
            "data": values,
            **changes.get(name, {}),
        }
        for name, values in lists_of(rows).items()
    ]


def arrow_stream(table: pa.Table, options: pa.ipc.IpcWriteOptions | None = None) -> bytes:
    """`table` as pyarrow writes it."""
    sink = BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue()


def read_stream(body: bytes) -> pa.Table:
    """A stream as pyarrow reads it."""
    return pa.ipc.open_stream(body).read_all()
