"""100,000 rows in one call: columnar JSON and Arrow against the forms that MLflow takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.ipc

from benchmarks.serving import contestants
from benchmarks.serving.agreement import TOLERANCE
from benchmarks.serving.contestants import Host
from benchmarks.serving.models import Models
from benchmarks.serving.network import BrokenAnswerError, answers_ok, exchange, free_port
from benchmarks.serving.registry import Registry
from benchmarks.serving.servers import RunningServer

_JSON = "application/json"
_ARROW = "application/vnd.apache.arrow.stream"
_OK = 200
_TRIAL_ROWS = 10


@dataclass(frozen=True)
class Form:
    """One way to send many rows."""

    name: str
    path: str
    content_type: str
    encode: Callable[[pl.DataFrame], bytes]
    decode: Callable[[bytes], Any]

    def request(self, port: int, table: pl.DataFrame) -> bytes:
        """The whole request."""
        body = self.encode(table)
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        head += f"Content-Type: {self.content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


def _lists(table: pl.DataFrame) -> Mapping[str, list[Any]]:
    return {name: table[name].to_list() for name in table.columns}


def _split(table: pl.DataFrame) -> bytes:
    split = {"columns": table.columns, "data": [list(row) for row in table.rows()]}
    return json.dumps({"dataframe_split": split}, separators=(",", ":")).encode()


def _arrow(table: pl.DataFrame) -> bytes:
    sink = BytesIO()
    found = table.to_arrow().cast(
        pa.schema({"amount": pa.float64(), "merchant_category": pa.string(), "hour": pa.int64()})
    )
    with pyarrow.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    return sink.getvalue()


def _predictions(body: bytes) -> Any:
    return json.loads(body)["predictions"]


OUR_FORMS = (
    Form(
        "columnar JSON",
        "/predict",
        _JSON,
        lambda table: json.dumps({"columns": _lists(table)}, separators=(",", ":")).encode(),
        lambda body: json.loads(body)["prediction"],
    ),
    Form(
        "Arrow",
        "/predict",
        _ARROW,
        _arrow,
        lambda body: pyarrow.ipc.open_stream(body).read_all().column(0).to_numpy(),
    ),
)
MLFLOW_FORMS = (
    Form("dataframe_split", "/invocations", _JSON, _split, _predictions),
    Form(
        "inputs, columnar",
        "/invocations",
        _JSON,
        lambda table: json.dumps({"inputs": _lists(table)}, separators=(",", ":")).encode(),
        _predictions,
    ),
    Form("CSV", "/invocations", "text/csv", lambda t: t.write_csv().encode(), _predictions),
)


def measure(
    models: Models, registry: Registry, rounds: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Model → server and form → milliseconds of each call, the answer's last byte included."""
    found: dict[str, Any] = {}
    mlflow = contestants.mlflow
    hosts: dict[str, dict[str, Host]] = {
        "small": {
            "Modelyard": contestants.ours(registry, "small"),
            "mlflow": mlflow(models.path("small/pyfunc")),
            "mlflow without ONNX": mlflow(models.path("small/numpy")),
        },
        "forest": {
            "Modelyard": contestants.ours(registry, "forest"),
            "mlflow": mlflow(models.path("forest/sklearn")),
        },
    }
    for model, of_model in hosts.items():
        with ExitStack() as stack:
            turns = [
                (f"{who}, {form.name}", host, form)
                for who, host in of_model.items()
                for form in _forms(host)
            ]
            ports = {host.name: _start(host, models.bulk, stack) for host in of_model.values()}
            found[model] = {name: {"ms": []} for name, _, _ in turns}
            for turn in range(rounds):
                for name, host, form in turns:
                    result = found[model][name]
                    server, port = ports[host.name]
                    server.go_on()
                    _call(result, form, port, models.bulk, models.expected[f"{model}.bulk"])
                    server.halt()
                    said = result.get("failure") or f"{result['ms'][-1]:,.0f} ms"
                    say(f"100,000 rows, {model} {turn + 1}/{rounds}: {name}: {said}")
    return found


def _forms(host: Host) -> tuple[Form, ...]:
    return MLFLOW_FORMS if host.name.startswith("mlflow") else OUR_FORMS


def _start(host: Host, table: pl.DataFrame, stack: ExitStack) -> tuple[RunningServer, int]:
    port = free_port()
    server = RunningServer(host.program(port))
    stack.callback(server.stop)
    small = _forms(host)[0].request(port, table.head(_TRIAL_ROWS))
    server.wait_until(lambda: answers_ok(port, small))
    return server, port


def _call(
    result: dict[str, Any], form: Form, port: int, table: pl.DataFrame, expected: np.ndarray
) -> None:
    if "failure" in result:
        return
    request = form.request(port, table)
    try:
        exchange(port, form.request(port, table.head(_TRIAL_ROWS)))
        started = perf_counter()
        status, _, body = exchange(port, request)
        elapsed_ms = (perf_counter() - started) * 1e3
    except (OSError, BrokenAnswerError) as error:
        result["failure"] = f"{type(error).__name__}: {error}"
        return
    if status != _OK:
        result["failure"] = f"{status}: {body[:200].decode(errors='replace')}"
        return
    answer = np.asarray(form.decode(body), dtype=np.float64).reshape(len(table), -1)[:, -1]
    difference = float(np.max(np.abs(answer - expected)))
    if not difference <= TOLERANCE:
        result["failure"] = f"differs by {difference:.2g}"
        return
    result["ms"].append(elapsed_ms)
    result |= {"request_bytes": len(request), "difference": difference}
