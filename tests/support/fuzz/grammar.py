"""Valid requests of every protocol and route, made from the contract of the toy model."""

from __future__ import annotations

import csv
import json
import struct
from io import StringIO
from random import Random
from typing import Any

import pyarrow as pa

from support.fuzz.message import Message
from support.fuzz.reference import single
from support.fuzz.tree import tree, write
from support.models.toy import CONTRACT
from support.protocol_requests import ARROW, arrow_stream

CANARY = "k4N4rY7z"
"""A value of a client's; no refusal may repeat it."""
Row = dict[str, Any]
JSON = b"application/json"
_NOTES = [
    "",
    "hi",
    "a:b",
    "{}",
    "[[",
    ",",
    '"',
    "\\",
    "ü",
    "😀" * 8,
    "\u2028",
    "null",
    "NaN",
    CANARY,
]
_AMOUNTS = [0, 1, 999, 999.0, 0.5, 12.5, 1e-9, 0.1, 5e-324, 998.9999999999999, -0.0, 4.0, 37, 512]
ROUTES = b"""
/health /livez /model /metrics /openapi.json /docs /redoc /ping /version /v2 /v2/ /v2/health/live
/v2/health/ready /v2/models/toy /v2/models/toy/ready /v2/models/toy/versions/1 /v2/models/other
/nowhere /
""".split()
POSTS = b"""
/v2/repository/index /v2/repository/models/toy/load /v2/repository/models/toy/unload /admin/reload
/v2/repository/models/other/load
""".split()


def row(numbers: Random) -> Row:
    """A row that keeps the contract."""
    features = CONTRACT["features"]
    amount = numbers.choice(
        [numbers.choice(_AMOUNTS), numbers.uniform(0, 999), numbers.randrange(1000)]
    )
    values = [
        amount,
        numbers.choice(features[1]["categories"]),
        numbers.randrange(24),
        numbers.random() < 0.5,
        numbers.choice(_NOTES),
    ]
    return {feature["name"]: value for feature, value in zip(features, values, strict=True)}


def rows(numbers: Random) -> list[Row]:
    """A few rows; now and then as many as fit a request of the small server, or more."""
    number = numbers.choice([1, 1, 1, 2, 3, numbers.choice([6, 7, 8, 9, 20, 21, 70])])
    return [row(numbers) for _ in range(number)]


def by_column(given: list[Row]) -> dict[str, list[Any]]:
    return {name: [one[name] for one in given] for name in given[0]}


def document(path: bytes, node: Any, numbers: Random) -> Message:
    """A request with JSON."""
    text = write(node, tight=numbers.random() < 0.5, ascii_only=numbers.random() < 0.5)
    return Message(path, text.encode("utf-8", "surrogatepass"), heads=[(b"content-type", JSON)])


def native_node(numbers: Random) -> Any:
    given = rows(numbers)
    shapes = [given[0], given, {"columns": by_column(given)}]
    return tree(numbers.choice(shapes))


def layout_node(numbers: Random) -> Any:
    given = rows(numbers)
    lists = by_column(given)
    split = {"columns": list(lists), "data": [list(one.values()) for one in given]}
    nested = {name: [[v] for v in values] for name, values in lists.items()}
    shapes = [
        {
            "dataframe_split": split
            | ({"index": list(range(len(given)))} if numbers.random() < 0.3 else {})
        },
        {"dataframe_records": given},
        {"instances": given},
        {"inputs": numbers.choice([lists, nested, given[0], given])},
    ]
    value = numbers.choice(shapes)
    if numbers.random() < 0.2:
        value["params"] = numbers.choice([None, {}, {"top": 3}])
    return tree(value)


_DATATYPES = {
    "amount": "FP64",
    "merchant_category": "BYTES",
    "hour": "INT64",
    "is online": "BOOL",
    "note": "BYTES",
}
_OTHERS = {
    "amount": ["FP32", "FP64", "FP16", "INT64", "UINT8", "INT8"],
    "hour": ["INT8", "UINT64", "INT16", "UINT8", "INT64"],
}


def tensor_list(given: list[Row], numbers: Random) -> list[dict[str, Any]]:
    found = []
    for name, values in by_column(given).items():
        datatype = (
            numbers.choice(_OTHERS[name])
            if name in _OTHERS and numbers.random() < 0.3
            else _DATATYPES[name]
        )
        shape: list[int] = [len(values)]
        data: list[Any] = values
        if numbers.random() < 0.2:
            shape, data = (
                [len(values), 1],
                [[v] for v in values] if numbers.random() < 0.5 else values,
            )
        found.append({"name": name, "shape": shape, "datatype": datatype, "data": data})
    if numbers.random() < 0.2:
        numbers.shuffle(found)
    return found


def inference_node(numbers: Random) -> Any:
    value: dict[str, Any] = {"inputs": tensor_list(rows(numbers), numbers)}
    if numbers.random() < 0.3:
        value["id"] = numbers.choice(["7", "", "ü"])
    if numbers.random() < 0.3:
        parameters = numbers.choice([None, {}, {"binary_data": True}, {"binary_data": False}])
        value["outputs"] = [{"name": "answer", "parameters": parameters}]
    if numbers.random() < 0.2:
        value["parameters"] = {"binary_data_output": numbers.random() < 0.5}
    return tree(value)


def infer_path(numbers: Random) -> bytes:
    return numbers.choice(
        [b"/v2/models/toy/infer"] * 4
        + [b"/v2/models/toy/versions/1/infer"] * 2
        + [b"/v2/models/toy/versions/2/infer", b"/v2/models/other/infer"]
    )


def binary_message(numbers: Random) -> Message:
    """Tensors behind the JSON."""
    inputs, tail = [], b""
    for tensor in tensor_list(rows(numbers), numbers):
        data = _packed(tensor)
        if data is not None and numbers.random() < 0.9:
            del tensor["data"]
            tensor["parameters"] = {"binary_data_size": len(data)}
            tail += data
        inputs.append(tensor)
    text = json.dumps({"inputs": inputs}).encode()
    heads = [
        (b"content-type", b"application/octet-stream"),
        (b"inference-header-content-length", b"%d" % len(text)),
    ]
    return Message(infer_path(numbers), text + tail, heads=heads)


_CODES = {
    "FP64": "d",
    "FP32": "f",
    "FP16": "e",
    "INT64": "q",
    "INT16": "h",
    "INT8": "b",
    "UINT8": "B",
    "UINT64": "Q",
    "BOOL": "?",
}


def _packed(tensor: dict[str, Any]) -> bytes | None:
    values = [v[0] if isinstance(v, list) else v for v in tensor["data"]]
    if tensor["datatype"] == "BYTES":
        texts = [v.encode() for v in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    try:
        return struct.pack(f"<{len(values)}{_CODES[tensor['datatype']]}", *values)
    except (struct.error, OverflowError):
        return None


def csv_message(numbers: Random) -> Message:
    given = rows(numbers)
    text = StringIO()
    writer = csv.writer(
        text,
        lineterminator=numbers.choice(["\n", "\r\n"]),
        quoting=numbers.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    )
    writer.writerow(given[0])
    writer.writerows(one.values() for one in given)
    bom = b"\xef\xbb\xbf" if numbers.random() < 0.1 else b""
    return Message(
        b"/invocations", bom + text.getvalue().encode(), heads=[(b"content-type", b"text/csv")]
    )


_ARROW_TYPES: list[dict[str, list[pa.DataType]]] = [
    {
        "amount": [pa.float64(), pa.float32()],
        "merchant_category": [
            pa.string(),
            pa.large_string(),
            pa.string_view(),
            pa.dictionary(pa.int8(), pa.string()),
        ],
        "hour": [pa.int64(), pa.int8(), pa.uint16()],
        "is online": [pa.bool_()],
        "note": [pa.string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    }
]


def arrow_message(numbers: Random) -> tuple[Message, list[float]]:
    """A stream, and the numbers that it has to be answered with."""
    given = rows(numbers)
    names = list(given[0])
    if numbers.random() < 0.2:
        numbers.shuffle(names)
    types = {name: numbers.choice(_ARROW_TYPES[0][name]) for name in names}
    arrays = []
    for name in names:
        values = [float(one[name]) if name == "amount" else one[name] for one in given]
        arrays.append(pa.array(values, types[name]))
    table = pa.table(dict(zip(names, arrays, strict=True)))
    amounts = table.column("amount").to_pylist()
    body = arrow_stream(table)
    heads = [(b"content-type", ARROW.encode())]
    if numbers.random() < 0.5:
        heads.append((b"accept", JSON))
    return Message(b"/predict", body, heads=heads), [single(1000.0 + amount) for amount in amounts]


def other_message(numbers: Random) -> Message:
    """A request to a route that gives no predictions."""
    if numbers.random() < 0.3:
        message = Message(numbers.choice(POSTS), b"{}", heads=[(b"content-type", JSON)])
        if numbers.random() < 0.5:
            message.heads.append(
                (
                    b"authorization",
                    numbers.choice(
                        [b"Bearer wrong", b"Basic c2VzYW1lOg==", b"Bearer", b"bearer  ses\xe4me"]
                    ),
                )
            )
        return message
    return Message(numbers.choice(ROUTES), method=numbers.choice([b"GET", b"GET", b"HEAD"]))
