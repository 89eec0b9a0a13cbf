"""The same few rows as columnar JSON and as an Arrow stream, and the faults that are reported."""

from __future__ import annotations

from typing import Any

import httpx
import pyarrow as pa

from support.protocol_requests import ARROW, arrow_stream, lists_of, post, rows_of, strict_json
from support.serving_app import Server

ROWS = rows_of(1, 2.5, 3)
LISTS = lists_of(ROWS)
TABLE = pa.table(LISTS)
PATH = "/predict"


def columnar(server: Server, **changes: Any) -> httpx.Response:
    return post(server, PATH, {"columns": LISTS | changes})


def arrow(server: Server, table: pa.Table | bytes, **headers: str) -> httpx.Response:
    body = table if isinstance(table, bytes) else arrow_stream(table)
    return post(server, PATH, body, content_type=ARROW, **headers)


def with_column(name: str, values: Any, kind: pa.DataType | None = None) -> pa.Table:
    index = TABLE.column_names.index(name)
    return TABLE.set_column(index, name, pa.array(values, kind) if kind else pa.array(values))


def check_faults(answer: httpx.Response, *expected: tuple[list[Any], str]) -> None:
    assert answer.status_code == 422, answer.text
    found = [(fault["loc"], fault["msg"]) for fault in strict_json(answer)["errors"]]
    assert found == [(["body", *place], message) for place, message in expected]
