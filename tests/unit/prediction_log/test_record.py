"""A line of the log: what is written comes back, whatever was asked."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.prediction_log.record import Record, RecordEncoder, decode, id_field

FULL = RecordEncoder(max_content_bytes=100_000)


def written(encoder: RecordEncoder = FULL, **changes: Any) -> tuple[bytes, Record]:
    """A line, and what is read from it."""
    values: dict[str, Any] = {
        "model": "toy",
        "version": "3",
        "path": "/predict",
        "request_id": b"order-7",
        "trace_id": b"",
        "rows": 2,
        "request": b"[1, 2]",
        "answer": b"{}",
    }
    line = encoder.encode(**values | changes)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    record = decode(line)
    assert record is not None
    return line, record


def test_a_record_comes_back_as_it_was_written():
    line, record = written(trace_id=b"4bf92f3577b34da6a3ce929d0e0e4736")
    assert (record.model, record.version, record.path) == ("toy", "3", "/predict")
    assert (record.request_id, record.rows) == ("order-7", 2)
    assert record.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert record.contents == {"request": [1, 2], "answer": {}}
    assert id_field("order-7") in line


def test_lines_that_share_a_version_or_an_address_are_told_apart():
    encoder = RecordEncoder(0)
    for model, version, path in [
        ("toy", "3", "/predict"),
        ("toy", "3", "/invocations"),
        ("toy", "4", "/invocations"),
        ('to"y', "4", "/invocations"),
        ("toy", "3", "/predict"),
    ]:
        _, record = written(encoder, model=model, version=version, path=path)
        assert (record.model, record.version, record.path) == (model, version, path)


def test_without_contents_a_line_has_none():
    _, record = written(RecordEncoder(0))
    assert record.contents == {}
    assert record.trace_id == ""
    assert record.fields.keys() == {"time", "id", "model", "version", "path", "rows"}


def test_what_is_too_long_is_counted():
    _, record = written(RecordEncoder(max_content_bytes=5), answer=b"12345")
    assert record.contents == {"request_bytes": 6, "answer": 12345}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(value=json_values, indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_any_json_comes_back_from_one_line(value: Any, indent: int | None, ascii_only: bool):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).replace("\n", "\r\n")
    _, record = written(request=text.encode(), answer=b"{}")
    assert record.contents == {"request": value, "answer": {}}


@given(content=st.binary())
def test_any_bytes_come_back_from_one_line(content: bytes):
    _, record = written(request=content, answer=content)
    if "request" in record.contents:
        assert record.contents["request"] == record.contents["answer"] == json.loads(content)
    else:
        assert base64.b64decode(record.contents["request_base64"]) == content


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b"\0\0", b'{"id":"order-7"}'])
def test_what_is_no_record_is_none(line: bytes):
    assert decode(line) is None
