"""A column of strings as codes stands wherever an array does."""

from __future__ import annotations

import numpy as np
import pytest

from modelyard.scoring.column import EncodedStrings, concatenate

VALUES = ("ant", "bee")


def encoded(*codes: int, values: tuple[str, ...] = VALUES) -> EncodedStrings:
    return EncodedStrings(values, np.array(codes, np.uint8))


def test_encoded_strings_are_read_like_an_array():
    column = encoded(1, 0, 1)
    assert len(column) == 3
    assert column.dtype == np.dtype(object)
    assert column.tolist() == ["bee", "ant", "bee"]
    assert column[1:].tolist() == ["ant", "bee"]
    assert np.asarray(column).tolist() == column.tolist()
    assert np.concatenate([column, np.array(["c"], object)]).tolist() == ["bee", "ant", "bee", "c"]
    with pytest.raises(ValueError, match="no array of strings to share"):
        np.array(column, copy=False)


def test_one_part_is_itself():
    part = encoded(0)
    assert concatenate([part]) is part


def test_encoded_parts_stay_encoded_and_share_a_dictionary():
    other = ("cat", "ant")
    joined = concatenate([encoded(1), encoded(0, 1), encoded(0, 1, values=other)])
    assert isinstance(joined, EncodedStrings)
    assert joined.tolist() == ["bee", "ant", "bee", "cat", "ant"]
    assert joined.values == ["ant", "bee", "cat", "ant"]


def test_more_values_than_a_byte_counts_are_joined():
    many = tuple(f"v{number}" for number in range(200))
    others = tuple(f"w{number}" for number in range(200))
    joined = concatenate([encoded(199, values=many), encoded(199, values=others)])
    assert joined.tolist() == ["v199", "w199"]


def test_encoded_strings_beside_an_array_become_an_array():
    joined = concatenate([encoded(1, 0), np.array(["x"], object)])
    assert isinstance(joined, np.ndarray)
    assert joined.dtype == np.dtype(object)
    assert joined.tolist() == ["bee", "ant", "x"]


def test_numbers_keep_their_dtype():
    joined = concatenate([np.array([1, 2]), np.array([3])])
    assert (joined.tolist(), joined.dtype) == ([1, 2, 3], np.dtype(np.int64))
