"""Many rows in one request as an Arrow stream, in and out."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from modelyard.serving.protocols.arrow_stream import read_stream as read_arrow_stream
from support.batch_requests import (
    PATH,
    ROWS,
    TABLE,
    arrow,
    check_faults,
    with_column,
)
from support.models.toy import ROW, contract_with
from support.protocol_requests import (
    ARROW,
    arrow_stream,
    post,
    read_stream,
)
from support.serving_app import MakeServer, Server


def test_a_stream_is_answered_with_a_stream(server: Server):
    answer = arrow(server, TABLE)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == ARROW
    assert answer.headers["x-model-version"] == "1"
    table = read_stream(answer.content)
    assert table.column_names == ["answer"]
    assert table["answer"].to_pylist() == [1001.0, 1002.5, 1003.0]


def test_accept_chooses_the_form_of_the_answer(server: Server):
    assert arrow(server, TABLE, accept="application/json").json()["prediction"][0] == 1001.0
    answer = post(server, PATH, ROWS, accept=ARROW)
    assert read_stream(answer.content)["answer"].to_pylist() == [1001.0, 1002.5, 1003.0]
    for accept in ("*/*", "text/html, */*;q=0.8", "application/json, " + ARROW):
        assert post(server, PATH, ROW, accept=accept).json()["prediction"] == [1012.5]
        assert arrow(server, TABLE, accept=accept).headers["content-type"] == ARROW


STRINGS = ["grocery", "electronics", "grocery"]


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("amount", [1, 2, 3], pa.int8()),
        ("amount", [1, 2, 3], pa.uint64()),
        ("amount", [1, 2, 3], pa.float32()),
        ("amount", [1, 2, 3], pa.float16()),
        ("hour", [1, 2, 3], pa.uint8()),
        ("hour", [1, 2, 3], pa.int32()),
        ("hour", [1, 2, 3], pa.uint64()),
        ("hour", [1, 2, 3], pa.dictionary(pa.int8(), pa.int64())),
        ("merchant_category", STRINGS, pa.large_string()),
        ("merchant_category", STRINGS, pa.string_view()),
        ("merchant_category", STRINGS, pa.dictionary(pa.int32(), pa.string())),
        ("merchant_category", STRINGS, pa.dictionary(pa.uint8(), pa.large_string())),
        ("note", STRINGS[:1] * 3, pa.dictionary(pa.int16(), pa.string())),
    ],
    ids=str,
)
def test_types_that_lose_nothing_are_taken(
    server: Server, name: str, values: Any, kind: pa.DataType
):
    assert arrow(server, with_column(name, values, kind)).status_code == 200


@pytest.mark.parametrize(
    ("name", "values", "kind", "place", "message"),
    [
        ("amount", [1, None, 3], None, [], "must not have nulls"),
        ("note", ["a", None, "b"], None, [], "must not have nulls"),
        (
            "note",
            ["a", None, "b"],
            pa.dictionary(pa.int8(), pa.string()),
            [],
            "must not have nulls",
        ),
        ("amount", [None] * 3, pa.null(), [], "must be a column of numbers"),
        ("amount", ["1", "2", "3"], None, [], "must be a column of numbers"),
        ("amount", [True] * 3, None, [], "must be a column of numbers"),
        ("amount", [[1], [2], [3]], None, [], "must be a column of numbers"),
        ("amount", [1, 2, 3], pa.decimal128(5), [], "must be a column of numbers"),
        ("amount", [1, 2, 3], pa.timestamp("s"), [], "must be a column of numbers"),
        ("amount", [b"1"] * 3, pa.binary(), [], "must be a column of numbers"),
        ("amount", [1, float("nan"), 3], None, [1], "must be finite"),
        ("amount", [1, 2, -3], None, [2], "must be at least 0"),
        ("hour", [1.0, 2.0, 3.0], None, [], "must be a column of whole numbers"),
        ("hour", [1, 2, 2**63], pa.uint64(), [2], "is too large"),
        ("is online", [0, 1, 0], None, [], "must be a column of booleans"),
        ("note", [1, 2, 3], None, [], "must be a column of strings"),
        ("note", [b"a"] * 3, pa.binary(), [], "must be a column of strings"),
        ("note", ["a", "123456789", "b"], None, [1], "must have at most 8 characters"),
        ("merchant_category", ["grocery", "x", "x"], None, [1], "must be one of: "),
    ],
    ids=str,
)
def test_a_faulty_column_of_a_stream_is_named(
    server: Server, name: str, values: Any, kind: Any, place: list[Any], message: str
):
    answer = arrow(server, with_column(name, values, kind))
    assert answer.status_code == 422, answer.text
    fault = answer.json()["errors"][0]
    assert fault["loc"] == ["body", name, *place]
    assert fault["msg"].startswith(message)


def test_names_and_rows_of_a_stream_are_checked(server: Server):
    check_faults(arrow(server, TABLE.drop(["hour"])), (["hour"], "is required"))
    check_faults(
        arrow(server, TABLE.append_column("shade", pa.array([1, 2, 3]))),
        (["shade"], "is not a feature of this model."),
    )
    check_faults(
        arrow(server, TABLE.append_column("hour", TABLE["hour"])),
        (["hour"], "appears more than once"),
    )
    check_faults(arrow(server, TABLE.slice(0, 0)), ([], "must hold at least one row"))


def test_a_stream_of_many_batches_and_a_slice_are_read_whole(server: Server):
    batches = [TABLE.slice(1, 2), TABLE, TABLE.slice(0, 1)]
    answer = arrow(server, pa.concat_tables(batches))
    expected = [1002.5, 1003.0, 1001.0, 1002.5, 1003.0, 1001.0]
    assert read_stream(answer.content)["answer"].to_pylist() == expected


def test_what_is_no_stream_is_refused(server: Server):
    good = arrow_stream(TABLE)
    end = b"\xff\xff\xff\xff\x00\x00\x00\x00"
    unended = good.removesuffix(end)
    bodies = [b"", b"x", b"\xff" * 100, unended[:-8], good[:100], b"ARROW1\0\0" + good, end + good]
    bodies += [unended + b"x", b"\xff\xff\xff\xff\x00\x00\x00\x7f" + good, b"\0" * 64]
    for body in bodies:
        assert arrow(server, body).status_code == 400, body[:20]
    assert arrow(server, unended).status_code == 200
    for compression in ("lz4", "zstd"):
        options = pa.ipc.IpcWriteOptions(compression=compression)
        answer = arrow(server, arrow_stream(TABLE, options))
        assert answer.status_code == 400
        assert "without compression" in answer.json()["detail"]


def test_damaged_streams_never_break_the_server(server: Server):
    chance = random.Random(7)
    good = arrow_stream(with_column("note", STRINGS[:1] * 3, pa.dictionary(pa.int8(), pa.string())))

    async def main(client: httpx.AsyncClient) -> set[int]:
        statuses = set()
        for _ in range(1500):
            body = bytearray(good)
            for _ in range(chance.randint(1, 3)):
                place = chance.randrange(len(body))
                body[place : place + chance.choice([1, 1, 4, 8])] = chance.randbytes(
                    chance.choice([1, 1, 4, 8])
                )
            answer = await client.post(PATH, content=bytes(body), headers={"content-type": ARROW})
            statuses.add(answer.status_code)
        return statuses

    assert server.run(main) <= {200, 400, 413, 422}


def test_streams_have_the_limits_of_batches(make_server: MakeServer):
    server = make_server(max_body_bytes=1024, max_rows=1, max_batch_rows=1000)
    server.serve(1)
    table = pa.concat_tables([TABLE] * 333)
    assert arrow(server, table).status_code == 200
    assert arrow(server, pa.concat_tables([table, TABLE])).status_code == 413


def test_class_probabilities_are_a_column_each(make_server: MakeServer):
    server = make_server()
    server.serve(1)
    output = {"name": "p", "kind": "class_probabilities", "classes": ["a", "b"]}
    snapshot = server.holder.snapshot

    class Two:
        description = "two"

        def predict(self, columns):
            return np.tile(np.array([[0.25, 0.75]]), (len(columns["amount"]), 1))

        def close(self):
            pass

    contract = snapshot.contract.model_validate(contract_with(output=output))
    server.holder.snapshot = replace(snapshot, runner=Two(), contract=contract)
    table = read_stream(arrow(server, TABLE).content)
    assert table.to_pydict() == {"a": [0.25] * 3, "b": [0.75] * 3}


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
@pytest.mark.parametrize("different", [1, 5, 63, 64, 65, 3000])
def test_texts_come_through_as_they_are(kind: pa.DataType, different: int):
    chance = random.Random(different)
    alphabet = ["a", "b", "\0", "é", "€", "😀", "grocery-"]
    words = {
        "".join(chance.choices(alphabet, k=chance.randint(0, 6))) for _ in range(different * 4)
    }
    texts = chance.choices(sorted(words)[:different], k=3000)
    texts += ["", "x" * chance.choice([7, 8, 9, 40])]
    table = pa.concat_tables([pa.table({"t": pa.array(part, kind)}) for part in (texts, texts[:3])])
    for given in (table, table.slice(1000, 1500), pa.table({"t": table["t"].dictionary_encode()})):
        if kind == pa.string_view() and given.schema.field("t").type != kind:
            continue  # pyarrow cannot encode those
        column = read_arrow_stream(arrow_stream(given), 1, lambda _: None, lambda _: None)["t"]
        assert column.tolist() == given["t"].to_pylist()
