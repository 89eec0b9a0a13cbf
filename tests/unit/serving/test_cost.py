"""What a body costs grows no faster than the body, in every reader: calls made, and memory held."""

from __future__ import annotations

import json
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from modelyard.errors import ModelyardError
from modelyard.serving.limits import Limits
from modelyard.serving.protocols.arrow_stream import StreamError, read_stream
from modelyard.serving.protocols.exchange import ModelSpec
from modelyard.serving.protocols.inference import InferenceProtocol
from modelyard.serving.protocols.mlflow_scoring import MlflowProtocol
from modelyard.serving.protocols.native import NativeProtocol
from modelyard.settings import ServingSettings
from support import arrow_bodies as arrow
from support.models.folders import write_version
from support.models.toy import NAME, ROW
from support.serving_app import snapshot_of

ARROW = {b"content-type": b"application/vnd.apache.arrow.stream"}
JSON = {b"content-type": b"application/json"}
CSV = {b"content-type": b"text/csv"}
NUMBERS = [("amount", arrow.FLOAT, None), ("hour", arrow.INT, None)]
Body = tuple[str, dict[bytes, bytes], bytes]


def listed_views(kib: int) -> Body:
    """A column of text views over one range, which is listed as a buffer again and again."""
    times, data = kib * 1024 // 2 // 16, b"a" * (kib * 512)
    fields = [("merchant_category", arrow.UTF8_VIEW, None)]
    view = struct.pack("<i12s", 4, b"fuel")
    buffers = [(0, 0), (0, 16), *[(0, len(data))] * times]
    body = arrow.stream(
        arrow.schema(fields), arrow.records(1, 1, buffers, view + data[16:], [times])
    )
    return "/predict", ARROW, body


def listed_fields(kib: int) -> Body:
    return "/predict", ARROW, arrow.stream(arrow.schema(NUMBERS, kib * 1024 // 8))


def long_shared_name(kib: int) -> Body:
    field = ("n" * (kib * 512), arrow.FLOAT, None)
    return "/predict", ARROW, arrow.stream(arrow.schema([field], kib * 128))


def batches_of_one_dictionary(kib: int) -> Body:
    """A dictionary of many texts, and empty batches that refer to it."""
    values = [b"%06d" % number for number in range(kib * 1024 // 2 // 10)]
    fields = [("merchant_category", arrow.UTF8, 7)]
    empty = arrow.records(0, 1, [(0, 0), (0, 0)])
    count = kib * 1024 // 2 // len(empty)
    messages = [arrow.dictionary(7, len(values), *arrow.texts(values)), *[empty] * count]
    return "/predict", ARROW, arrow.stream(arrow.schema(fields), *messages)


def deltas_of_one_dictionary(kib: int) -> Body:
    delta = arrow.dictionary(7, 1, *arrow.texts([b"x"]), delta=True)
    one = arrow.records(1, 1, [(0, 0), (0, 4)], bytes(4))
    count = kib * 1024 // (len(delta) + len(one))
    fields = [("merchant_category", arrow.UTF8, 7)]
    return "/predict", ARROW, arrow.stream(arrow.schema(fields), *[delta, one] * count)


def records_with_keys_of_their_own(kib: int) -> Body:
    rows = [{f"{number:x}": 1} for number in range(kib * 1024 // 14)]
    return "/invocations", JSON, json.dumps({"dataframe_records": rows}).encode()


def records_with_one_key_each(kib: int) -> Body:
    names = list(ROW)
    rows = [{names[number % len(names)]: 1} for number in range(kib * 1024 // 20)]
    return "/invocations", JSON, json.dumps({"instances": rows}).encode()


def split_with_many_columns(kib: int) -> Body:
    count = kib * 1024 // 16
    value = {"columns": [f"c{number}" for number in range(count)], "data": [[1] * count]}
    return "/invocations", JSON, json.dumps({"dataframe_split": value}).encode()


def csv_with_many_columns(kib: int) -> Body:
    count = kib * 1024 // 10
    names = ",".join(f"c{number}" for number in range(count))
    return "/invocations", CSV, f"{names}\n{','.join('1' * count)}\n".encode()


def csv_rows(kib: int) -> Body:
    return "/invocations", CSV, b"amount,hour\n" + b"1,2\n" * (kib * 256)


def csv_with_long_numbers(kib: int) -> Body:
    """Digits that a pattern could share out among its parts in many ways."""
    return "/invocations", CSV, b"amount\n" + b"9" * (kib * 1000) + b"x\n"


def csv_with_empty_cells(kib: int) -> Body:
    return "/invocations", CSV, b"amount,hour\n" + b",\n" * (kib * 500)


def rows_without_values(kib: int) -> Body:
    return "/predict", JSON, b"[" + b"{}," * (kib * 340) + b"{}]"


def columnar_with_objects(kib: int) -> Body:
    return "/predict", JSON, b'{"columns":{"amount":[' + b"{}," * (kib * 340) + b"{}]}}"


def columnar_with_lists(kib: int) -> Body:
    return "/predict", JSON, b'{"columns":{"amount":[' + b"[1]," * (kib * 250) + b"[1]]}}"


def deep_nesting(kib: int) -> Body:
    return "/predict", JSON, b"[" * (kib * 512) + b"]" * (kib * 512)


def unicode_escapes(kib: int) -> Body:
    text = b"\\u0061" * (kib * 170)
    return "/predict", JSON, b'{"merchant_category":"' + text + b'"}'


def one_long_number(kib: int) -> Body:
    return "/predict", JSON, b'{"amount":' + b"9" * (kib * 1000) + b"}"


def split_of_short_rows(kib: int) -> Body:
    rows = b"[1]," * (kib * 250)
    value = b'{"columns":["amount"],"data":[' + rows + b"[1]]}"
    return "/invocations", JSON, b'{"dataframe_split":' + value + b"}"


def infer_values(kib: int) -> Body:
    count = kib * 250
    head = b'{"inputs":[{"name":"amount","datatype":"FP64","shape":[%d],"data":[' % count
    return f"/v2/models/{NAME}/infer", JSON, head + b",".join([b"1e9"] * count) + b"]}]}"


def infer_binary_texts(kib: int) -> Body:
    count = kib * 200
    size = {"binary_data_size": 5 * count}
    tensor = {"name": "merchant_category", "datatype": "BYTES", "shape": [count]}
    head = json.dumps({"inputs": [tensor | {"parameters": size}]}).encode()
    binary = {
        b"content-type": b"application/octet-stream",
        b"inference-header-content-length": b"%d" % len(head),
    }
    return f"/v2/models/{NAME}/infer", binary, head + struct.pack("<i1s", 1, b"a") * count


def columnar(kib: int) -> Body:
    lists = {name: [value] * (kib * 30) for name, value in ROW.items()}
    return "/predict", JSON, json.dumps({"columns": lists}).encode()


def columnar_with_unknown_names(kib: int) -> Body:
    lists = {f"c{number}": [1] for number in range(kib * 64)}
    return "/predict", JSON, json.dumps({"columns": lists}).encode()


def rows_with_unknown_names(kib: int) -> Body:
    return "/predict", JSON, json.dumps([{f"c{n}": 1 for n in range(kib * 90)}]).encode()


def one_name_again_and_again(kib: int) -> Body:
    return "/predict", JSON, b"{" + b'"amount":1,' * (kib * 90) + b'"hour":1}'


def nested_lists(kib: int) -> Body:
    return "/invocations", JSON, b'{"inputs":{"amount":[' + b"[1]," * (kib * 250) + b"[1]]}}"


def infer_inputs(kib: int) -> Body:
    tensor = {"name": "amount", "datatype": "FP64", "shape": [1], "data": [1]}
    value = {"inputs": [tensor] * (kib * 14)}
    return f"/v2/models/{NAME}/infer", JSON, json.dumps(value).encode()


def infer_dimensions(kib: int) -> Body:
    tensor = {"name": "amount", "datatype": "FP64", "shape": [1] * (kib * 512), "data": [1]}
    return f"/v2/models/{NAME}/infer", JSON, json.dumps({"inputs": [tensor]}).encode()


def infer_outputs(kib: int) -> Body:
    value = {"inputs": [], "outputs": [{"name": "answer"}] * (kib * 50)}
    return f"/v2/models/{NAME}/infer", JSON, json.dumps(value).encode()


BODIES: list[Callable[[int], Body]] = [
    listed_views, listed_fields, long_shared_name, batches_of_one_dictionary,
    deltas_of_one_dictionary, records_with_keys_of_their_own, records_with_one_key_each,
    split_with_many_columns, csv_with_many_columns, csv_rows, columnar,
    columnar_with_unknown_names, rows_with_unknown_names, one_name_again_and_again, nested_lists,
    infer_inputs, infer_dimensions, infer_outputs, csv_with_long_numbers, csv_with_empty_cells,
    rows_without_values, columnar_with_objects, columnar_with_lists, deep_nesting, unicode_escapes,
    one_long_number, split_of_short_rows, infer_values, infer_binary_texts,
]  # fmt: skip


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    folder = tmp_path_factory.mktemp("cost")
    write_version(folder, 1)
    limits = Limits.of(ServingSettings(model_uri="models:/x/1", max_rows=10**6))
    return ModelSpec.of(snapshot_of(folder), limits)


def read(spec: ModelSpec, body: Body) -> None:
    """Read as a server does; a refusal is as good as an answer."""
    path, headers, content = body
    kinds = {"/predict": NativeProtocol, "/invocations": MlflowProtocol}
    protocol = kinds.get(path, InferenceProtocol)(spec.limits)
    with suppress(ModelyardError):
        form = protocol.format_of({"type": "http", "method": "POST", "path": path}, headers)
        form.read(spec, content)
    if headers is ARROW:  # whatever the schema, which the model's contract refuses above
        with suppress(StreamError):
            read_stream(content, len(spec.contract.features) + 200, _accept, _accept)


def _accept(_: object) -> None:
    """Any schema, and any number of rows."""


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """How many functions were called, of Python and of C."""
    calls = [0]

    def count(_frame: object, event: str, _argument: object) -> None:
        calls[0] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def held_bytes(spec: ModelSpec, body: Body) -> int:
    """The most memory that reading `body` held at once."""
    tracemalloc.start()
    try:
        read(spec, body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", BODIES, ids=lambda make: make.__name__)
def test_twice_the_body_costs_at_most_two_and_a_half_times_as_much(spec: ModelSpec, make):
    small, large = make(32), make(64)
    assert len(large[2]) / len(small[2]) == pytest.approx(2, rel=0.1)
    costs = []
    for body in (small, small, large):  # the first one also compiles and imports
        with counted_calls() as calls:
            read(spec, body)
        costs.append((calls[0], held_bytes(spec, body)))
    _, (calls, held), (more_calls, more_held) = costs
    assert more_calls <= 2.5 * calls + 1000
    assert more_held <= 2.5 * held + 2**20


@pytest.mark.parametrize("make", BODIES, ids=lambda make: make.__name__)
def test_memory_is_a_small_multiple_of_the_body(spec: ModelSpec, make):
    body = make(256)
    # two bytes make a row of CSV, as far as `max_rows` lets them: here it is a million
    most = 128 if make is csv_with_empty_cells else 64
    assert held_bytes(spec, body) < most * len(body[2])


def test_the_streams_are_ones_that_the_reader_takes():
    body = arrow.stream(
        arrow.schema([("merchant_category", arrow.UTF8, 7)]),
        arrow.dictionary(7, 2, *arrow.texts([b"books", b"food"])),
        arrow.records(2, 1, [(0, 0), (0, 8)], struct.pack("<2i", 1, 0)),
        arrow.dictionary(7, 1, *arrow.texts([b"fuel"]), delta=True),
        arrow.records(1, 1, [(0, 0), (0, 4)], struct.pack("<i", 2)),
    )
    columns = read_stream(body, 1, lambda _: None, lambda _: None)
    assert columns["merchant_category"].tolist() == ["food", "books", "fuel"]
