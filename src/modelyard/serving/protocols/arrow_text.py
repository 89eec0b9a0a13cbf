"""Texts of Arrow columns as Python strings; where few differ, each is made only once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from modelyard.scoring.column import Array, EncodedStrings

_FEWEST_ROWS = 256  # below, looking for repeats costs more than it saves
_MOST_VALUES = 256
_WORD = 8
_LONGEST_TEXT = 4 * _WORD
_SAMPLE_ROWS = 1024
_MOST_ROUNDS = 8
_HASH_BITS = 16
_MULTIPLIERS = np.array(  # odd, with bits all over: of splitmix64, murmur3 and xxhash
    [
        0x9E3779B97F4A7C15,
        0xBF58476D1CE4E5B9,
        0x94D049BB133111EB,
        0xFF51AFD7ED558CCD,
        0xC2B2AE3D27D4EB4F,
    ],
    np.uint64,
)
_LAST_BYTES = np.array(
    [(2**64 - 1) ^ (2 ** (8 * max(_WORD - n, 0)) - 1) for n in range(_LONGEST_TEXT + 1)], np.uint64
)
"""By length of a text: the bits that are its own in the eight bytes that end with it."""

Words = npt.NDArray[np.uint64]


def read_texts(data: memoryview, offsets: Array) -> Array | EncodedStrings:
    """The texts in `data`, each between two neighbours in `offsets`.

    Args:
        data: the bytes of all texts.
        offsets: int32 or int64, shape [rows + 1], ascending, none beyond the end of `data`.

    Raises:
        UnicodeDecodeError: a text is not UTF-8.
    """
    if len(offsets) > _FEWEST_ROWS and (encoded := _encode(data, offsets)) is not None:
        return encoded
    ends, whole = offsets.tolist(), bytes(data)
    if whole.isascii():  # characters are bytes: one decode for all
        text = whole.decode("ascii")
        return np.array([text[start:end] for start, end in pairwise(ends)], object)
    return np.array([str(whole[start:end], "utf-8") for start, end in pairwise(ends)], object)


def _encode(data: memoryview, offsets: Array) -> EncodedStrings | None:
    """The texts as distinct values and codes; None when they are long, or too many differ.

    A hash finds a candidate value for each text, and all their bytes are compared: colliding hashes
    cost another round, never a wrong text.
    """
    places = offsets.astype(np.int64)
    lengths = np.diff(places)
    longest = int(lengths.max())
    if longest > _LONGEST_TEXT:
        return None
    keys = [lengths, *_words(data, places, lengths, longest)]
    mixed = np.zeros(len(lengths), np.uint64)
    for key, multiplier in zip(keys, _MULTIPLIERS, strict=False):
        mixed ^= key.astype(np.uint64) * multiplier
        mixed ^= mixed >> np.uint64(32)
    mixed *= _MULTIPLIERS[0]
    slots = (mixed >> np.uint64(64 - _HASH_BITS)).astype(np.intp)
    values: list[str] = []
    codes = np.empty(len(lengths), np.int32)
    rows = np.arange(len(lengths))  # those whose value is not known yet
    for _ in range(_MOST_ROUNDS):
        sample = slots[:: 1 + len(slots) // _SAMPLE_ROWS]
        taken, at = np.unique(sample, return_index=True)
        at *= 1 + len(slots) // _SAMPLE_ROWS
        if len(values) + len(taken) > _MOST_VALUES:
            return None
        number = np.zeros(2**_HASH_BITS, np.int32)
        number[taken] = np.arange(len(taken))
        found = number[slots]
        same = np.logical_and.reduce([key[at][found] == key for key in keys])
        codes[rows] = found + len(values)  # wrong for some, which the next round corrects
        firsts = rows[at].tolist()
        values += [str(data[places[row] : places[row + 1]], "utf-8") for row in firsts]
        if same.all():
            return EncodedStrings(values, codes)
        other = ~same
        slots, rows, keys = slots[other], rows[other], [key[other] for key in keys]
    return None


def _words(data: memoryview, places: Array, lengths: Array, longest: int) -> list[Words]:
    """All bytes of each text as whole numbers of eight bytes.

    They overlap where the length is not a multiple of eight, so that none reaches beyond the end. A
    text shorter than eight bytes is in the highest bytes of each number.
    """
    padded = bytes(_WORD) + data
    at_every_byte: Words = np.ndarray((len(data) + 1,), "<u8", padded, strides=(1,))
    last, own = places[1:], _LAST_BYTES[lengths]
    ends = range(_WORD, longest, _WORD)  # behind the first eight bytes, the next eight, …
    before = [np.minimum(places[:-1] + end, last) for end in ends]
    return [at_every_byte[end] & own for end in (last, *before)]
