"""How each server is asked for predictions, and where its answer has them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Row = Mapping[str, Any]
Floats = np.ndarray

_V2_TYPES = {"amount": "FP64", "merchant_category": "BYTES", "hour": "INT64"}
_JSON = "application/json"
_CLASSES = 2


@dataclass(frozen=True)
class Dialect:
    """One way to ask.

    Args:
        path: of the request.
        encode: rows to a body, and headers beside the content type.
        decode: an answer's body to one probability a row.
    """

    name: str
    path: str
    encode: Callable[[Sequence[Row]], tuple[bytes, Mapping[str, str]]]
    decode: Callable[[bytes], Floats]
    content_type: str = _JSON

    def request(self, port: int, rows: Sequence[Row]) -> bytes:
        """The whole HTTP request as it goes over the wire."""
        body, extra = self.encode(rows)
        headers = {
            "Host": f"127.0.0.1:{port}",
            "Content-Type": self.content_type,
            "Content-Length": str(len(body)),
            **extra,
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def _json(value: Any) -> tuple[bytes, Mapping[str, str]]:
    return json.dumps(value, separators=(",", ":")).encode(), {}


def _of_positive(values: Any, rows: int | None = None) -> Floats:
    """The probability of fraud, also where an answer has both classes of a row."""
    found = np.asarray(values, dtype=np.float64)
    if rows is not None:
        found = found.reshape(rows, -1)
    return found[:, 1] if found.ndim == _CLASSES and found.shape[1] == _CLASSES else found.ravel()


def _records(rows: Sequence[Row]) -> tuple[bytes, Mapping[str, str]]:
    return _json(dict(rows[0]) if len(rows) == 1 else [dict(row) for row in rows])


def _columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in _V2_TYPES}


def _split(rows: Sequence[Row]) -> tuple[bytes, Mapping[str, str]]:
    data = [[row[name] for name in _V2_TYPES] for row in rows]
    return _json({"dataframe_split": {"columns": list(_V2_TYPES), "data": data}})


def _v2(extra: Mapping[str, Any]) -> Callable[[Sequence[Row]], tuple[bytes, Mapping[str, str]]]:
    def encode(rows: Sequence[Row]) -> tuple[bytes, Mapping[str, str]]:
        inputs: list[dict[str, Any]] = [
            {"name": name, "shape": [len(rows), 1], "datatype": _V2_TYPES[name], "data": values}
            for name, values in _columns(rows).items()
        ]
        if extra:  # MLServer has to be told that bytes are text
            inputs[1]["parameters"] = {"content_type": "str"}
        return _json({"inputs": inputs, **extra})

    return encode


def _v2_binary(rows: Sequence[Row]) -> tuple[bytes, Mapping[str, str]]:
    inputs, tensors = [], []
    for name, values in _columns(rows).items():
        kind = _V2_TYPES[name]
        if kind == "BYTES":
            words = [value.encode() for value in values]
            tensor = b"".join(struct.pack("<I", len(word)) + word for word in words)
        else:
            tensor = np.array(values, dtype={"FP64": "<f8", "INT64": "<i8"}[kind]).tobytes()
        parameters = {"binary_data_size": len(tensor)}
        inputs.append(
            {"name": name, "shape": [len(rows), 1], "datatype": kind, "parameters": parameters}
        )
        tensors.append(tensor)
    head, _ = _json({"inputs": inputs, "outputs": [{"name": "probability"}]})
    return head + b"".join(tensors), {"Inference-Header-Content-Length": str(len(head))}


def _v2_answer(body: bytes) -> Floats:
    output = json.loads(body)["outputs"][0]
    return _of_positive(output["data"], int(output["shape"][0]))


def native() -> Dialect:
    """Modelyard's `/predict`."""
    return Dialect(
        "/predict", "/predict", _records, lambda b: _of_positive(json.loads(b)["prediction"])
    )


def invocations() -> Dialect:
    """MLflow's scoring protocol, in the form its documentation recommends."""
    return Dialect(
        "/invocations",
        "/invocations",
        _split,
        lambda b: _of_positive(json.loads(b)["predictions"]),
    )


def v2(model: str, *, outputs: str = "", pandas: bool = False) -> Dialect:
    """Open Inference Protocol V2, all in JSON."""
    extra: dict[str, Any] = {"outputs": [{"name": outputs}]} if outputs else {}
    if pandas:
        extra["parameters"] = {"content_type": "pd"}
    return Dialect("V2, JSON", f"/v2/models/{model}/infer", _v2(extra), _v2_answer)


def v2_binary(model: str) -> Dialect:
    """Open Inference Protocol V2 with binary tensors in the question."""
    return Dialect(
        "V2, binary tensors",
        f"/v2/models/{model}/infer",
        _v2_binary,
        _v2_answer,
        content_type="application/octet-stream",
    )


def bentoml() -> Dialect:
    """The parameter `rows` of a BentoML method."""

    def encode(rows: Sequence[Row]) -> tuple[bytes, Mapping[str, str]]:
        return _json({"rows": [dict(row) for row in rows]})

    return Dialect("/predict", "/predict", encode, lambda b: _of_positive(json.loads(b)))


def one_row() -> Dialect:
    """One object in, `prediction` out: LitServe, mosec, and the limits."""
    return Dialect(
        "/predict",
        "/predict",
        lambda rows: _json(dict(rows[0])),
        lambda b: _of_positive(json.loads(b)["prediction"]),
    )
