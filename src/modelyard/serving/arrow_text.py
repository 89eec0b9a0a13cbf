"""Texts of Arrow columns as Python strings; few different ones are made only once each."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from modelyard.serving.columns import Array, Encoded

_FEWEST_ROWS = 256  # below, looking for repeats costs more than it saves
_MOST_VALUES = 64
_WORD = 8
_LONGEST_TEXT = 4 * _WORD


def read_texts(data: bytes, offsets: Array) -> Array | Encoded:
    """The texts in `data` between one offset and the next, which ascend and lie within it.

    Raises:
        UnicodeDecodeError: one is not UTF-8.
    """
    if len(offsets) > _FEWEST_ROWS and (encoded := _encode(data, offsets)) is not None:
        return encoded
    ends = offsets.tolist()
    if data.isascii():  # characters are bytes: one decode for all
        text = data.decode("ascii")
        return np.array([text[start:end] for start, end in pairwise(ends)], object)
    return np.array([data[start:end].decode("utf-8") for start, end in pairwise(ends)], object)


def _encode(data: bytes, offsets: Array) -> Encoded | None:
    """The texts as different values and codes; None when they are long, or many differ."""
    lengths = np.diff(offsets)
    longest = int(lengths.max())
    if longest > _LONGEST_TEXT:
        return None
    keys = [lengths, *_words(data, offsets[:-1], lengths, longest)]
    codes = np.empty(len(lengths), np.int32)
    values: list[str] = []
    left = np.arange(len(lengths))
    while len(left):
        if len(values) == _MOST_VALUES:
            return None
        same = np.ones(len(left), np.bool_)
        for key in keys:
            same &= key == key[0]
        codes[left[same]] = len(values)
        first = left[0]
        values.append(data[offsets[first] : offsets[first + 1]].decode("utf-8"))
        left = left[~same]
        keys = [key[~same] for key in keys]
    return Encoded(values, codes)


def _words(
    data: bytes, starts: Array, lengths: Array, longest: int
) -> list[npt.NDArray[np.uint64]]:
    """The bytes of each text as whole numbers of eight bytes, zeros behind its end."""
    padded = data + bytes(_WORD + longest)
    count = len(padded) - _WORD + 1
    at_every_byte: npt.NDArray[np.uint64] = np.ndarray((count,), "<u8", padded, strides=(1,))
    words = []
    for place in range(0, longest, _WORD):
        held = np.clip(lengths - place, 0, _WORD).astype(np.uint64)
        unwanted = (np.uint64(_WORD) - held) * np.uint64(_WORD)
        # shifted by 64, a number is undefined: texts that end before have no bits here
        word = at_every_byte[starts + place] << np.minimum(unwanted, np.uint64(63))
        words.append(np.where(held == 0, np.uint64(0), word))
    return words
