"""Modelyard's own protocol, `POST /predict`: JSON by row, JSON by column, Arrow.

JSON is answered in JSON and Arrow in Arrow, unless `Accept` names the other one.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from starlette.types import Scope

from modelyard.scoring.rows.decoder import Row, Table
from modelyard.scoring.runner import Predictions
from modelyard.serving.limits import Limits, is_columnar
from modelyard.serving.protocols.arrow import MEDIA_TYPE as ARROW_TYPE
from modelyard.serving.protocols.arrow import read_arrow, write_arrow
from modelyard.serving.protocols.body import (
    JSON,
    BodyReader,
    RequestHeaders,
    media_type,
    method_not_allowed,
    wrong_type,
)
from modelyard.serving.protocols.columnar import read_columnar
from modelyard.serving.protocols.exchange import Encode, HttpResponse, ModelSpec, RequestFormat
from modelyard.serving.protocols.faults import examine
from modelyard.serving.protocols.finite import check_finite, not_finite
from modelyard.serving.protocols.json_text import UNDECODABLE
from modelyard.serving.protocols.wording import render_native

PATH = "/predict"
ARROW = ARROW_TYPE.encode()
_ANYTHING = (None, b"*/*", JSON)
_FEW_NUMBERS = 256
"""As many as msgspec writes as fast as orjson."""


class NativeProtocol:
    """Rows or columns in, `{"prediction": [...], "model": {...}}` or an Arrow stream out."""

    label = PATH
    render = staticmethod(render_native)

    def __init__(self, limits: Limits) -> None:
        json_body = BodyReader(limits.request, limits.batch, is_columnar)
        arrow_body = BodyReader(limits.request, limits.batch)
        self._json = JsonFormat(json_body, write_json)
        self._json_to_arrow = JsonFormat(json_body, write_arrow)
        self._arrow = ArrowFormat(arrow_body, write_arrow)
        self._arrow_to_json = ArrowFormat(arrow_body, write_json)

    def format_of(self, scope: Scope, headers: RequestHeaders) -> RequestFormat:
        """The format that the content type and `Accept` name."""
        if scope["method"] != "POST":
            raise method_not_allowed(PATH)
        content_type, accept = headers.get(b"content-type", b""), headers.get(b"accept")
        if content_type == JSON and accept in _ANYTHING:
            return self._json
        wants_arrow, wants_json = ARROW in (accept or b""), JSON in (accept or b"")
        match media_type(content_type):
            case b"application/json":
                return self._json_to_arrow if wants_arrow and not wants_json else self._json
            case kind if kind == ARROW:
                return self._arrow_to_json if wants_json and not wants_arrow else self._arrow
            case kind:
                raise wrong_type(kind, "application/json", ARROW_TYPE)


class JsonFormat:
    """One row, a list of rows, or columns, in JSON."""

    def __init__(self, body: BodyReader, encode: Encode) -> None:
        self.body = body
        self._encode = encode

    def read(self, spec: ModelSpec, body: bytes) -> tuple[Table, Encode]:
        """The rows, or the columns, in `body`."""
        decoder = spec.decoder
        rows: Sequence[Row]
        try:
            rows = decoder.decode(body)
        except UNDECODABLE:
            if is_columnar(body):
                return read_columnar(spec, body), self._encode
            rows = ()
        size = spec.limits.request
        if not rows or not decoder.has_single_keys(body, rows):
            found = examine(body, spec.contract, size, spec.limits.max_depth)
            return decoder.rows(found), self._encode
        if len(rows) > size.max_rows:
            size.check_rows(len(rows))
        return rows, self._encode


class ArrowFormat:
    """An Arrow IPC stream."""

    def __init__(self, body: BodyReader, encode: Encode) -> None:
        self.body = body
        self._encode = encode

    def read(self, spec: ModelSpec, body: bytes) -> tuple[Table, Encode]:
        """The columns of the stream."""
        return read_arrow(spec, body), self._encode


def write_json(spec: ModelSpec, predictions: Predictions) -> HttpResponse:
    """`{"prediction": [...], "model": {...}}`.

    Raises:
        Problem: 422 naming the rows for which the model has no finite answer.
    """
    if predictions.size > _FEW_NUMBERS and predictions.dtype.kind == "f":
        check_finite(predictions)
        numbers = write_floats(predictions)
    else:
        numbers = msgspec.json.encode(predictions.tolist())
        if b"null" in numbers:  # how NaN and infinities are written; nothing else is
            raise not_finite(predictions)
    body = b"".join((b'{"prediction":', numbers, b',"model":', spec.model_json, b"}"))
    return body, spec.json_headers


def write_floats(predictions: Predictions) -> bytes:
    """Floats as JSON, in a third of the time that msgspec takes for many of them.

    orjson is imported when many are first written, so that a start does not wait for it. They are
    written as float64, as few of them are: a row's answer has the same digits in every request.
    """
    import orjson

    wide = np.ascontiguousarray(predictions, dtype=np.float64)
    return orjson.dumps(wide, option=orjson.OPT_SERIALIZE_NUMPY)
