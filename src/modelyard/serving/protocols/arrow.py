"""Arrow IPC streams, in and out: the fast way for many rows."""

from __future__ import annotations

from collections import Counter
from io import BytesIO

import numpy as np

from modelyard.contract import OutputKind
from modelyard.scoring.column import EncodedColumns
from modelyard.scoring.rows.columns import check_columns
from modelyard.scoring.rows.faults import MAX_FAULTS, Fault, RowsRefusedError, refuse, shown
from modelyard.scoring.runner import Predictions
from modelyard.serving.problem import Problem
from modelyard.serving.protocols.arrow_stream import NullError, StreamError, read_stream
from modelyard.serving.protocols.arrow_types import ArrowField
from modelyard.serving.protocols.exchange import HttpResponse, ModelSpec
from modelyard.serving.protocols.finite import check_finite

MEDIA_TYPE = "application/vnd.apache.arrow.stream"


def read_arrow(spec: ModelSpec, body: bytes) -> EncodedColumns:
    """The columns of the stream in `body`.

    Raises:
        Problem: 400 when it is not a stream that can be read, 413 for too many rows.
        RowsRefusedError: names each fault.
    """

    def check(schema: list[ArrowField]) -> None:
        """Refuse what the schema alone rules out, before any data is read."""
        times = Counter(field.name for field in schema)
        refuse(
            Fault([shown(name)], "appears more than once")
            for name, count in times.items()
            if count > 1
        )
        check_columns({field.name: field.empty() for field in schema}, spec.contract, [])

    try:
        most_fields = len(spec.contract.features) + MAX_FAULTS  # so many unknown ones are named
        columns = read_stream(body, most_fields, check, spec.limits.batch.check_rows)
    except NullError as error:
        raise RowsRefusedError([Fault([str(error)], "must not have nulls")]) from error
    except StreamError as error:
        raise Problem(
            "malformed-arrow",
            400,
            "The body is not an Arrow stream",
            f"The body must be an Arrow IPC stream: {error}.",
        ) from error
    if not len(next(iter(columns.values()), ())):
        raise RowsRefusedError([Fault([], "must hold at least one row")])
    return check_columns(columns, spec.contract, [])


def write_arrow(spec: ModelSpec, predictions: Predictions) -> HttpResponse:
    """The predictions as a stream with one column, or one for each class.

    arro3 is imported when the first stream is written, so that a start need not wait for it.
    """
    from arro3.core import Array, Table
    from arro3.io import write_ipc_stream

    check_finite(predictions)
    output = spec.contract.output
    if output.kind is OutputKind.CLASS_PROBABILITIES:
        named = dict(zip(output.classes, predictions.T, strict=True))
    else:
        named = {output.name: predictions}
    arrays = [Array.from_numpy(np.ascontiguousarray(values)) for values in named.values()]
    stream = BytesIO()
    write_ipc_stream(Table.from_arrays(arrays, names=list(named)), stream, compression=None)
    headers = [(b"content-type", MEDIA_TYPE.encode()), spec.version_header]
    return stream.getvalue(), headers
