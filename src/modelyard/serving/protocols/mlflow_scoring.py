"""MLflow's scoring protocol, `POST /invocations`: the four JSON layouts, and CSV.

It keeps what MLflow's documentation promises: values are cast to the model's types where the cast
loses nothing, and unknown columns and `params` are ignored. It does not do what MLflow's server
does beyond that, which is to truncate 3.5 to 3 and to answer `NaN` where a value is missing.
https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from io import StringIO
from itertools import islice
from typing import Any

import msgspec
from starlette.types import Scope

from modelyard.scoring.rows.decoder import Table
from modelyard.scoring.rows.faults import Fault, RowsRefusedError, shown
from modelyard.scoring.runner import Predictions
from modelyard.serving.limits import Limits
from modelyard.serving.protocols.body import (
    BodyReader,
    RequestHeaders,
    media_type,
    method_not_allowed,
    unreadable,
    wrong_type,
)
from modelyard.serving.protocols.casts import cast_values
from modelyard.serving.protocols.exchange import Encode, HttpResponse, ModelSpec, RequestFormat
from modelyard.serving.protocols.finite import check_finite
from modelyard.serving.protocols.json_text import read_json
from modelyard.serving.protocols.tables import check_lengths, check_table
from modelyard.serving.protocols.tensors import flatten
from modelyard.serving.protocols.wording import render_mlflow

PATH = "/invocations"
LAYOUTS = ("dataframe_split", "dataframe_records", "instances", "inputs")

Lists = dict[str, list[Any]]


class MlflowProtocol:
    """JSON or CSV in, `{"predictions": [...]}` out."""

    label = PATH
    render = staticmethod(render_mlflow)

    def __init__(self, limits: Limits) -> None:
        body = BodyReader(limits.request)
        self._formats: dict[bytes, RequestFormat] = {
            b"application/json": LayoutsFormat(body),
            b"text/csv": CsvFormat(body),
        }

    def format_of(self, scope: Scope, headers: RequestHeaders) -> RequestFormat:
        """The format that the content type names."""
        if scope["method"] != "POST":
            raise method_not_allowed(PATH)
        kind = media_type(headers.get(b"content-type", b""))
        if (found := self._formats.get(kind)) is None:
            raise wrong_type(kind, *map(bytes.decode, self._formats))
        return found


class LayoutsFormat:
    """JSON: `dataframe_split`, `dataframe_records`, `instances` or `inputs`."""

    def __init__(self, body: BodyReader) -> None:
        self.body = body

    def read(self, spec: ModelSpec, body: bytes) -> tuple[Table, Encode]:
        """The columns in `body`."""
        value = read_json(body, spec.limits.max_depth)
        layouts = [name for name in LAYOUTS if name in value] if isinstance(value, dict) else []
        if len(layouts) != 1:
            raise unreadable(
                f"The body must be an object with exactly one of {', '.join(LAYOUTS)}."
            )
        if not isinstance(value.get("params", {}), dict | None):
            raise unreadable("params must be an object.")
        (layout,) = layouts
        return _to_table(_lists(layout, value[layout], spec, len(body)), spec), write_predictions


class CsvFormat:
    """A table with the columns' names in the first line, as pandas' `to_csv` writes it."""

    def __init__(self, body: BodyReader) -> None:
        self.body = body

    def read(self, spec: ModelSpec, body: bytes) -> tuple[Table, Encode]:
        """The columns in `body`."""
        try:
            reader = csv.reader(StringIO(body.decode("utf-8-sig")), strict=True)
            # a few bytes make a row: more than may be are not held before they are refused
            size = spec.limits.request
            lines = list(islice((line for line in reader if line), size.max_rows + 2))
            size.check_rows(len(lines) - 1)
        except UnicodeDecodeError as error:
            raise unreadable(f"The body is not UTF-8 at byte {error.start}.") from error
        except csv.Error as error:
            raise unreadable("The body is not CSV that can be read.") from error
        if not lines:
            raise unreadable("The body must hold a line with the names of the columns, and rows.")
        return _to_table(_from_rows(lines[0], lines[1:]), spec), write_predictions


def write_predictions(spec: ModelSpec, predictions: Predictions) -> HttpResponse:
    """`{"predictions": [...]}`.

    Raises:
        Problem: 422 naming the rows for which the model has no finite answer.
    """
    check_finite(predictions)
    return msgspec.json.encode({"predictions": predictions.tolist()}), spec.json_headers


def _lists(layout: str, value: Any, spec: ModelSpec, body_bytes: int) -> Lists:
    """The columns of a layout, with the values as they are in the JSON."""
    if layout == "dataframe_split":
        if not isinstance(value, dict) or not {"columns", "data"} <= value.keys():
            raise unreadable('dataframe_split must be an object with "columns" and "data".')
        return _from_rows(value["columns"], value["data"])
    if layout == "inputs" and isinstance(value, dict):
        if not any(isinstance(column, list) for column in value.values()):
            return {name: [one] for name, one in value.items()}  # one row
        for name, column in value.items():
            if not isinstance(column, list):
                raise unreadable(
                    f"inputs: {shown(name)} must be a list of values, like the others."
                )
        return {
            name: flatten(column) if column and type(column[0]) is list else column
            for name, column in value.items()
        }
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise unreadable(
            f"{layout} must be a list of objects, each with the names of the model's features."
        )
    return _from_records(value, spec, body_bytes)


def _from_records(rows: list[dict[str, Any]], spec: ModelSpec, body_bytes: int) -> Lists:
    """The columns of the model's features; a row that lacks one has None.

    Rows may have different keys, but a table with more cells than the body has bytes is mostly
    holes, and costs what nobody sent.
    """
    spec.limits.request.check_rows(len(rows))
    names = [name for name in spec.contract.names if any(name in row for row in rows)]
    if len(rows) * len(names) > body_bytes:
        sparse = next(number for number, row in enumerate(rows) if not row.keys() >= set(names))
        lacking = [name for name in names if name not in rows[sparse]]
        raise RowsRefusedError([Fault([name, sparse], "is required") for name in lacking])
    return {name: [row.get(name) for row in rows] for name in names}


def _from_rows(names: Any, rows: Any) -> Lists:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise unreadable("The columns' names must be a list of strings.")
    if len(set(names)) != len(names):
        raise unreadable("A column's name appears more than once.")
    if not isinstance(rows, list):
        raise unreadable("The data must be a list of rows.")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise unreadable(
                f"Row {number} must be a list of {len(names)} values, one for each column."
            )
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {name: list(values) for name, values in zip(names, columns, strict=True)}


def _to_table(lists: Mapping[str, list[Any]], spec: ModelSpec) -> Table:
    known = {f.name: f for f in spec.contract.features}
    lists = {name: values for name, values in lists.items() if name in known}
    check_lengths(lists, [])
    if lists:
        spec.limits.request.check_rows(len(next(iter(lists.values()))))
    given = {name: cast_values(known[name], values) for name, values in lists.items()}
    return check_table(given, spec, [], ignore_unknown=True)
