"""Reads Arrow IPC streams from outside into numpy.

Libraries trust what a stream says about its own buffers: one changed byte makes pyarrow allocate
without limit, and ends the process that runs arro3. Here a stream is only bytes: each buffer must
lie within its message and none is copied for being listed, so that reading costs no more than a
small multiple of the body. Only what features can be is read: numbers, booleans, text, and
dictionaries of them; no nulls, no compression.
The format: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from modelyard.scoring.column import Array, Column, EncodedStrings, concatenate
from modelyard.serving.protocols.arrow_text import read_texts
from modelyard.serving.protocols.arrow_types import ArrowField, ArrowLayout, read_schema
from modelyard.serving.protocols.flatbuffer import FlatbufferError, FlatbufferTable

_CONTINUATION = 0xFFFFFFFF
_MOST_DELTAS = 64  # each copies the numbers of before
_SCHEMA, _DICTIONARY_BATCH, _RECORD_BATCH = 1, 2, 3


Dictionary = list[str] | Array
"""Values that the indices of a column lead to: texts, or numbers."""


class StreamError(ValueError):
    """The bytes are not a stream that can be read; says why."""


class NullError(StreamError):
    """A column has nulls; the argument is its name."""


def read_stream(
    body: bytes,
    most_fields: int,
    check: Callable[[list[ArrowField]], None],
    check_rows: Callable[[int], None],
) -> dict[str, Column]:
    """The columns of the stream in `body`.

    Args:
        body: the stream.
        most_fields: columns that it may have; a schema may list one field any number of times.
        check: raises when the schema cannot be accepted; called before any data is read.
        check_rows: raises when there are too many rows so far.

    Raises:
        StreamError: it cannot be read.
        NullError: a column has nulls.
    """
    try:
        return _Reader(body, most_fields, check, check_rows).columns()
    except FlatbufferError as error:
        raise StreamError("it is damaged") from error
    except UnicodeDecodeError as error:
        raise StreamError("a text is not UTF-8") from error
    except struct.error as error:
        raise StreamError("it is cut short, or not an Arrow stream") from error


class _Reader:
    def __init__(
        self,
        body: bytes,
        most_fields: int,
        check: Callable[[list[ArrowField]], None],
        check_rows: Callable[[int], None],
    ) -> None:
        self._body = body
        self._most_fields = most_fields
        self._check = check
        self._check_rows = check_rows
        self._schema: list[ArrowField] = []
        self._dictionaries: dict[int, Dictionary] = {}
        self._deltas = 0
        self._parts: list[list[Column]] = []
        self._rows = 0

    def columns(self) -> dict[str, Column]:
        for kind, header, data in self._frames():
            if kind == _SCHEMA and not self._parts:
                if header.number(0, "h"):
                    raise StreamError("it is big-endian")
                self._schema = read_schema(header, self._most_fields)
                if len(self._schema) > self._most_fields:
                    raise StreamError(f"it has more than {self._most_fields} columns")
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
            return {field.name: np.empty(0) for field in self._schema}
        by_column = zip(*self._parts, strict=True)
        return {
            field.name: concatenate(parts)
            for field, parts in zip(self._schema, by_column, strict=True)
        }

    def _frames(self) -> Iterator[tuple[int, FlatbufferTable, memoryview]]:
        """Kind, header and data of each message; the data are not copied."""
        body, place, view = self._body, 0, memoryview(self._body)
        while place < len(body):
            (size,) = struct.unpack_from("<I", body, place)
            place += 4
            if size == _CONTINUATION:  # absent in streams from before Arrow 0.15
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
        field = next((field for field in self._schema if field.dictionary == number), None)
        if batch is None or field is None:
            raise StreamError("it has a dictionary that no column refers to")
        value = ArrowField(field.name, field.layout, field.dtype)
        (column,) = _Batch(batch, data).read([value], self._found)
        values = np.asarray(column)
        new: Dictionary = values.tolist() if values.dtype == object else values
        if header.number(2, "?") and number in self._dictionaries:
            old = self._dictionaries[number]
            if isinstance(old, list) and isinstance(new, list):
                old.extend(new)  # indices that were read before still lead to the same texts
                return
            self._deltas += 1
            if self._deltas > _MOST_DELTAS:
                raise StreamError(
                    f"it adds to a dictionary of numbers more than {_MOST_DELTAS} times"
                )
            new = np.concatenate([old, new])
        self._dictionaries[number] = new

    def _found(self, number: int) -> Dictionary:
        if number not in self._dictionaries:
            raise StreamError("a dictionary is missing")
        return self._dictionaries[number]


class _Batch:
    """A record batch, whose columns take its buffers one after another."""

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
        self, schema: list[ArrowField], dictionary: Callable[[int], Dictionary]
    ) -> Iterator[Column]:
        """The values of each column."""
        for field in schema:
            length, nulls = next(self._nodes, (-1, 0))
            if length != self._rows:
                raise StreamError("its columns have different lengths")
            validity = self._buffer()
            if nulls > 0 or (len(validity) and not self._bits(validity).all()):
                raise NullError(field.name)
            if field.dictionary is not None:
                yield take(dictionary(field.dictionary), self._plain(field.codes))
                continue
            match field.layout:
                case ArrowLayout.PLAIN:
                    yield self._plain(field.dtype)
                case ArrowLayout.BITS:
                    yield self._bits(self._buffer())
                case ArrowLayout.TEXT:
                    yield self._text(field.dtype)
                case ArrowLayout.TEXT_VIEW:
                    yield self._text_view()
                case _:
                    raise StreamError("it has a column of a type that cannot be read")

    def _buffer(self) -> memoryview:
        offset, length = next(self._buffers, (-1, 0))
        if offset < 0 or length < 0 or offset + length > len(self._data):
            raise StreamError("a buffer lies outside its message")
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

    def _text(self, dtype: str) -> Column:
        buffer = self._buffer()
        offsets = self._array(buffer, dtype, self._rows + 1 if buffer or self._rows else 0)
        data = self._buffer()
        if not len(offsets):
            return np.empty(0, object)
        if offsets[0] < 0 or offsets[-1] > len(data) or (np.diff(offsets) < 0).any():
            raise StreamError("a text lies outside its buffer")
        return read_texts(data, offsets)

    def _text_view(self) -> Array:
        views = self._array(self._buffer(), "<i4", 4 * self._rows).reshape(-1, 4)
        (count,) = next(self._variadic, (0,))
        if not 0 <= count <= len(self._data):
            raise StreamError("it is damaged")
        buffers = [self._buffer() for _ in range(count)]  # views: one range may be listed often
        inline = views.tobytes()
        texts: list[bytes | memoryview] = []
        budget = len(self._data)  # views may share bytes: the texts must not outgrow the body
        for row, (length, _, number, offset) in enumerate(views.tolist()):
            if 0 <= length <= 12:  # noqa: PLR2004 - so many bytes lie in the view itself
                texts.append(inline[16 * row + 4 : 16 * row + 4 + length])
                continue
            budget -= length
            is_within = 0 <= number < count and 0 <= offset <= offset + length
            if not is_within or offset + length > len(buffers[number]) or budget < 0:
                raise StreamError("a text lies outside its buffer")
            texts.append(buffers[number][offset : offset + length])
        return np.array([str(text, "utf-8") for text in texts], object)


def take(values: Dictionary, codes: Array) -> Column:
    """The values at `codes`; texts stay encoded, so that each is checked only once.

    Nothing of a dictionary is copied: any number of batches may refer to one.

    Raises:
        StreamError: a code leads beyond the values.
    """
    if len(codes) and not (codes.min() >= 0 and codes.max() < len(values)):
        raise StreamError("an index leads beyond its dictionary")
    return EncodedStrings(values, codes) if isinstance(values, list) else values[codes]
