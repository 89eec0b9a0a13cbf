"""The Open Inference Protocol V2: `POST /v2/models/{model}[/versions/{version}]/infer`.

With the binary tensor extension, which clients such as tritonclient use unless told otherwise.
https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import msgspec
from starlette.types import Scope

from modelyard.scoring.rows.columns import RawColumn
from modelyard.scoring.rows.decoder import Table
from modelyard.scoring.rows.faults import Fault, RowsRefusedError, shown
from modelyard.scoring.runner import Predictions
from modelyard.serving.limits import Limits, Size
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.problem import Problem
from modelyard.serving.protocols.body import (
    BodyReader,
    RequestHeaders,
    media_type,
    method_not_allowed,
    unreadable,
    wrong_type,
)
from modelyard.serving.protocols.exchange import Encode, HttpResponse, ModelSpec
from modelyard.serving.protocols.finite import check_finite
from modelyard.serving.protocols.json_text import read_json
from modelyard.serving.protocols.tables import FEW_ROWS, check_table
from modelyard.serving.protocols.tensors import (
    DATATYPES,
    as_datatype,
    bad_tensor,
    dtype_of,
    from_bytes,
    json_values,
    rows_in_shape,
    to_bytes,
)
from modelyard.serving.protocols.wording import render_v2

LABEL = "/v2/models/{model}/infer"
LENGTH_HEADER = b"inference-header-content-length"
_address = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer").fullmatch
_MOST_DIGITS = 18  # of a number of bytes; Python refuses to read thousands
_TYPES = (b"", b"application/json", b"application/octet-stream")


class InferenceProtocol:
    """One tensor a feature in, one tensor of predictions out, each in JSON or in binary."""

    label = LABEL
    render = staticmethod(render_v2)

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._json_body = BodyReader(limits.request)
        self._binary_body = BodyReader(limits.request, limits.batch)

    def at(self, path: str) -> InferenceProtocol | None:
        """Itself, when `path` is one of its addresses."""
        return self if path.endswith("/infer") and _address(path) else None

    def format_of(self, scope: Scope, headers: RequestHeaders) -> InferFormat:
        """The format for the model and the version that the path names."""
        if scope["method"] != "POST":
            raise method_not_allowed(LABEL)
        kind = media_type(headers.get(b"content-type", b""))
        if kind not in _TYPES:
            raise wrong_type(kind, "application/json", "application/octet-stream")
        address = _address(scope["path"])
        assert address is not None  # or `at` had not returned this protocol
        model, version = address.groups()
        length = headers.get(LENGTH_HEADER)
        if length is None:
            return InferFormat(model, version, None, self._json_body, self._limits.request)
        if not length.isdigit() or len(length) > _MOST_DIGITS:
            raise unreadable(
                "The header Inference-Header-Content-Length must be a number of bytes."
            )
        return InferFormat(model, version, int(length), self._binary_body, self._limits.batch)


class InferFormat:
    """JSON, followed by binary tensors when `json_bytes` says where the JSON ends."""

    def __init__(
        self, model: str, version: str | None, json_bytes: int | None, body: BodyReader, size: Size
    ) -> None:
        self.body = body
        self._model = model
        self._version = version
        self._json_bytes = json_bytes
        self._size = size

    def read(self, spec: ModelSpec, body: bytes) -> tuple[Table, Encode]:
        """The columns of the tensors, and how to write the requested outputs."""
        check_model(spec.snapshot, self._model, self._version)
        tail = memoryview(b"")
        text = body
        if self._json_bytes is not None:
            if self._json_bytes > len(body):
                raise unreadable(
                    "The header Inference-Header-Content-Length is larger than the body."
                )
            text, tail = body[: self._json_bytes], memoryview(body)[self._json_bytes :]
        if len(text) > spec.limits.max_body_bytes:
            raise spec.limits.request.body_too_large()
        question = read_json(text, spec.limits.max_depth)
        if not isinstance(question, dict) or not isinstance(question.get("inputs"), list):
            raise unreadable('The body must be an object with a list of "inputs".')
        encode = _encoder(spec.snapshot, question)
        return self._table(spec, question["inputs"], tail), encode

    def _table(self, spec: ModelSpec, inputs: list[Any], tail: memoryview) -> Table:
        given: dict[str, RawColumn] = {}
        features = {feature.name: feature for feature in spec.contract.features}
        for tensor in inputs:
            name = tensor.get("name") if isinstance(tensor, dict) else None
            if not isinstance(name, str):
                raise unreadable("Each of the inputs must be an object with a name.")
            if name in given:
                raise bad_tensor(shown(name), "appears more than once")
            if name not in features:
                message = f"is not one of this model's; expected {', '.join(features)}"
                raise bad_tensor(shown(name), message)
            rows = rows_in_shape(name, tensor.get("shape"))
            self._size.check_rows(rows)
            dtype = dtype_of(name, tensor.get("datatype"))
            is_usual = tensor["datatype"] == DATATYPES[features[name].type]
            length = _parameters(tensor, f"The input {name}").get("binary_data_size")
            if length is None:
                values = json_values(name, dtype, rows, tensor.get("data"))
                given[name] = values if is_usual else as_datatype(name, dtype, values)
                continue
            if type(length) is not int or not 0 <= length <= len(tail) or "data" in tensor:
                raise bad_tensor(name, "must have as many bytes after the JSON as it announces")
            as_list = is_usual and rows <= FEW_ROWS
            given[name] = from_bytes(name, dtype, rows, tail[:length], as_list=as_list)
            tail = tail[length:]
        if len(tail):
            raise unreadable("There are more bytes after the JSON than the inputs announce.")
        counts = {len(column) for column in given.values()}
        if len(counts) > 1:
            raise unreadable("Every input must have the same number of rows.")
        if counts == {0}:
            raise RowsRefusedError([Fault([], "must hold at least one row")])
        return check_table(given, spec, [])


def check_model(snapshot: Snapshot, model: str, version: str | None) -> None:
    """Refuse a model or a version that is not served.

    Raises:
        Problem: 404.
    """
    served = snapshot.version
    if model != served.name:
        raise _not_served(f"The model {served.name} is served here, and no other.")
    if version is not None and version != served.version:
        raise _not_served(f"Version {served.version} is served now, and no other.")


def _encoder(snapshot: Snapshot, question: dict[str, Any]) -> Encode:
    """How to write the outputs that `question` asks for."""
    given_id = question.get("id")
    if not isinstance(given_id, str | None):
        raise unreadable("The id must be a string.")
    name = snapshot.contract.output.name
    binary = _flag(_parameters(question, "The request"), "binary_data_output", default=False)
    outputs = question.get("outputs")
    if not isinstance(outputs, list | None):
        raise unreadable("The outputs must be a list.")
    for output in outputs or ():
        if not isinstance(output, dict) or output.get("name") != name:
            raise unreadable(f"Each of the outputs must be an object with the name of one: {name}.")
        parameters = _parameters(output, "An output")
        if parameters.get("classification"):
            raise unreadable("The classification extension is not supported.")
        binary = _flag(parameters, "binary_data", default=binary)

    return partial(_write, given_id=given_id, binary=binary)


def _write(
    spec: ModelSpec, predictions: Predictions, *, given_id: str | None, binary: bool
) -> HttpResponse:
    check_finite(predictions)
    snapshot = spec.snapshot
    output: dict[str, Any] = {
        "name": snapshot.contract.output.name,
        "shape": list(predictions.shape),
        "datatype": "FP64",
    }
    answer: dict[str, Any] = {
        "model_name": snapshot.version.name,
        "model_version": snapshot.version.version,
    }
    if given_id is not None:
        answer["id"] = given_id
    answer["outputs"] = [output]
    if not binary:
        output["data"] = predictions.ravel().tolist()
        return msgspec.json.encode(answer), spec.json_headers
    data = to_bytes(predictions)
    output["parameters"] = {"binary_data_size": len(data)}
    text = msgspec.json.encode(answer)
    headers = [
        (b"content-type", b"application/octet-stream"),
        (LENGTH_HEADER, b"%d" % len(text)),
        spec.version_header,
    ]
    return text + data, headers


def _parameters(owner: dict[str, Any], who: str) -> dict[str, Any]:
    parameters = owner.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise unreadable(f"{who} must have its parameters in an object.")
    return parameters


def _flag(parameters: dict[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise unreadable(f"The parameter {name} must be true or false.")
    return value


def _not_served(detail: str) -> Problem:
    return Problem("not-served", 404, "Not Found", detail)
