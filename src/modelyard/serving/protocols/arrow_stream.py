"""Reads Arrow IPC streams from outside into numpy.

Libraries trust what a stream says of its own buffers: a changed byte makes pyarrow allocate
without limit, and arro3 end the process. Here a stream is nothing but bytes: each buffer has to
lie within its frame, so that nothing is ever larger than the body. Only what features can be is
read: numbers, booleans, text, and dictionaries of them; no nulls, no compression.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from modelyard.scoring.rows.columns import Array, RawColumn
from modelyard.scoring.rows.encoded import Encoded
from modelyard.serving.protocols.arrow_text import read_texts
from modelyard.serving.protocols.arrow_types import ArrowField, ArrowLayout, read_schema
from modelyard.serving.protocols.flatbuffer import FlatbufferError, FlatbufferTable

_CONTINUATION = 0xFFFFFFFF
_SCHEMA, _DICTIONARY_BATCH, _RECORD_BATCH = 1, 2, 3


class StreamError(ValueError):
    """The bytes are no stream that can be read; says why."""


class NullError(StreamError):
    """A column has nulls; its name is the argument."""


def read_stream(
    body: bytes, check: Callable[[list[ArrowField]], None], check_rows: Callable[[int], None]
) -> dict[str, RawColumn]:
    """The columns of the stream in `body`.

    Args:
        body: the stream.
        check: raises when the columns of the schema cannot be taken; before any data is read.
        check_rows: raises when there are too many rows so far.

    Raises:
        StreamError: it cannot be read.
    """
    try:
        return _Reader(body, check, check_rows).columns()
    except FlatbufferError as error:
        raise StreamError("it is damaged") from error
    except struct.error as error:
        raise StreamError("it is cut short, or not an Arrow stream") from error


class _Reader:
    def __init__(
        self,
        body: bytes,
        check: Callable[[list[ArrowField]], None],
        check_rows: Callable[[int], None],
    ) -> None:
        self._body = body
        self._check = check
        self._check_rows = check_rows
        self._schema: list[ArrowField] = []
        self._dictionaries: dict[int, RawColumn] = {}
        self._parts: list[list[RawColumn]] = []
        self._rows = 0

    def columns(self) -> dict[str, RawColumn]:
        for kind, header, data in self._frames():
            if kind == _SCHEMA and not self._parts:
                if header.number(0, "h"):
                    raise StreamError("it is big-endian")
                self._schema = read_schema(header)
                self._check(self._schema)
            elif kind == _DICTIONARY_BATCH:
                self._keep_dictionary(header, data)
            elif kind == _RECORD_BATCH:
                self._rows += header.number(0, "q")
                self._check_rows(self._rows)
                self._parts.append(list(_Batch(header, data).read(self._schema, self._found)))
        if not self._schema:
            raise StreamError("it has no schema")
        if not self._parts:
            return {column.name: () for column in self._schema}
        by_column = zip(*self._parts, strict=True)
        return {
            column.name: join(parts) for column, parts in zip(self._schema, by_column, strict=True)
        }

    def _frames(self) -> Iterator[tuple[int, FlatbufferTable, memoryview]]:
        """Kind, header and data of each message; the data are not copied."""
        body, place, view = self._body, 0, memoryview(self._body)
        while place < len(body):
            (size,) = struct.unpack_from("<I", body, place)
            place += 4
            if size == _CONTINUATION:  # not there in streams from before Arrow 0.15
                (size,) = struct.unpack_from("<I", body, place)
                place += 4
            if size == 0:  # the end of the stream
                return
            if place + size > len(body):
                raise StreamError("it is cut short, or not an Arrow stream")
            message = FlatbufferTable.root(body[place : place + size])
            length = message.number(3, "q")
            place += size
            if not 0 <= length <= len(body) - place:
                raise StreamError("it is cut short")
            header = message.table(2)
            if header is None:
                raise StreamError("it is damaged")
            yield message.number(1, "B"), header, view[place : place + length]
            place += length

    def _keep_dictionary(self, header: FlatbufferTable, data: memoryview) -> None:
        number, batch = header.number(0, "q"), header.table(1)
        columns = [column for column in self._schema if column.dictionary == number]
        if batch is None or not columns:
            raise StreamError("it has a dictionary that no column refers to")
        value = ArrowField(columns[0].name, columns[0].layout, columns[0].dtype)
        (values,) = _Batch(batch, data).read([value], self._found)
        if header.number(2, "?") and number in self._dictionaries:
            values = join([self._dictionaries[number], values])
        self._dictionaries[number] = values

    def _found(self, number: int) -> RawColumn:
        if number not in self._dictionaries:
            raise StreamError("a dictionary is missing")
        return self._dictionaries[number]


class _Batch:
    """A record batch: its columns' buffers, taken one after the other."""

    def __init__(self, header: FlatbufferTable, data: memoryview) -> None:
        if header.table(3) is not None:
            raise StreamError("it is compressed; send it without compression")
        self._rows = header.number(0, "q")
        if self._rows < 0:
            raise StreamError("it is damaged")
        self._nodes = iter(header.numbers(1, 2))
        self._buffers = iter(header.numbers(2, 2))
        self._variadic = iter(header.numbers(4, 1))
        self._data = data

    def read(
        self, columns: list[ArrowField], dictionary: Callable[[int], RawColumn]
    ) -> Iterator[RawColumn]:
        """Each column's values."""
        for column in columns:
            length, nulls = next(self._nodes, (-1, 0))
            if length != self._rows:
                raise StreamError("its columns have different lengths")
            validity = self._buffer()
            if nulls > 0 or (len(validity) and not self._bits(validity).all()):
                raise NullError(column.name)
            if column.dictionary is None:
                yield self._values(column)
                continue
            codes = self._plain(column.codes)
            values = dictionary(column.dictionary)
            if len(codes) and not (codes.min() >= 0 and codes.max() < len(values)):
                raise StreamError("an index leads out of its dictionary")
            yield take(values, codes)

    def _values(self, column: ArrowField) -> RawColumn:
        match column.layout:
            case ArrowLayout.PLAIN:
                return self._plain(column.dtype)
            case ArrowLayout.BITS:
                return self._bits(self._buffer())
            case ArrowLayout.TEXT:
                return self._text(column.dtype)
            case ArrowLayout.TEXT_VIEW:
                return self._text_view()
            case _:
                raise StreamError("it has a column of a type that cannot be read")

    def _buffer(self) -> memoryview:
        offset, length = next(self._buffers, (-1, 0))
        if offset < 0 or length < 0 or offset + length > len(self._data):
            raise StreamError("a buffer lies outside of its frame")
        return self._data[offset : offset + length]

    def _plain(self, dtype: str) -> Array:
        return self._array(self._buffer(), dtype, self._rows)

    @staticmethod
    def _array(buffer: memoryview, dtype: str, items: int) -> Array:
        if len(buffer) < items * np.dtype(dtype).itemsize:
            raise StreamError("a buffer is cut short")
        array = np.frombuffer(buffer, dtype, items)
        return array if array.flags.aligned else array.copy()

    def _bits(self, buffer: memoryview) -> npt.NDArray[np.bool_]:
        packed = self._array(buffer, "u1", -(-self._rows // 8))
        return np.unpackbits(packed, count=self._rows, bitorder="little").view(np.bool_)

    def _text(self, dtype: str) -> RawColumn:
        buffer = self._buffer()
        offsets = self._array(buffer, dtype, self._rows + 1 if buffer or self._rows else 0)
        data = self._buffer()
        if not len(offsets):
            return np.empty(0, object)
        if offsets[0] < 0 or offsets[-1] > len(data) or (np.diff(offsets) < 0).any():
            raise StreamError("a text lies outside of its buffer")
        try:
            return read_texts(data, offsets)
        except UnicodeDecodeError as error:
            raise StreamError("a text is not UTF-8") from error

    def _text_view(self) -> Array:
        views = self._array(self._buffer(), "<i4", 4 * self._rows).reshape(-1, 4)
        (count,) = next(self._variadic, (0,))
        if not 0 <= count <= len(self._data):
            raise StreamError("it is damaged")
        buffers = [bytes(self._buffer()) for _ in range(count)]
        inline = views.tobytes()
        texts: list[bytes] = []
        budget = len(self._data)  # views may share their bytes; not to make more of them
        for row, (length, _, number, offset) in enumerate(views.tolist()):
            if 0 <= length <= 12:  # noqa: PLR2004 - so many bytes lie in the view itself
                texts.append(inline[16 * row + 4 : 16 * row + 4 + length])
                continue
            budget -= length
            is_within = 0 <= number < count and 0 <= offset <= offset + length
            if not is_within or offset + length > len(buffers[number]) or budget < 0:
                raise StreamError("a text lies outside of its buffer")
            texts.append(buffers[number][offset : offset + length])
        try:
            return np.array([text.decode("utf-8") for text in texts], object)
        except UnicodeDecodeError as error:
            raise StreamError("a text is not UTF-8") from error


def take(values: RawColumn, codes: Array) -> RawColumn:
    """The values at `codes`: texts stay a dictionary, for they are checked once each."""
    if isinstance(values, Encoded):
        return Encoded(values.values, values.codes[codes])
    array = np.asarray(values)
    return Encoded(array.tolist(), codes) if array.dtype == object else array[codes]


def join(parts: tuple[RawColumn, ...] | list[RawColumn]) -> RawColumn:
    """The parts of one column, one after the other."""
    if len(parts) == 1:
        return parts[0]
    encoded = [part for part in parts if isinstance(part, Encoded)]
    if len(encoded) < len(parts):
        return np.concatenate([_plain(part) for part in parts])
    values: list[str] = []
    codes: list[Array] = []
    last, start = None, 0
    for part in encoded:
        if part.values is not last:  # most batches share one dictionary
            last, start = part.values, len(values)
            values.extend(part.values)
        codes.append(part.codes.astype(np.int64) + start)
    return Encoded(values, np.concatenate(codes))


def _plain(part: RawColumn) -> Array:
    if isinstance(part, Encoded):
        plain: Array = np.array(part.values, object)[part.codes]
        return plain
    return np.asarray(part)
