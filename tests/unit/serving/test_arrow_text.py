"""Texts of an Arrow column: the same strings, whether they are read one by one or as codes."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.scoring.column import EncodedStrings
from modelyard.serving.protocols import arrow_text
from modelyard.serving.protocols.arrow_text import read_texts

FEW = st.lists(st.text(max_size=9), min_size=1, max_size=30, unique=True)


def column(texts: list[str], dtype: str = "<i4") -> tuple[memoryview, np.ndarray]:
    parts = [text.encode() for text in texts]
    return memoryview(b"".join(parts)), np.cumsum([0, *map(len, parts)]).astype(dtype)


@given(FEW, st.integers(0, 2**32), st.sampled_from(["<i4", "<i8"]))
def test_repeated_texts_become_codes(values: list[str], seed: int, dtype: str):
    texts = random.Random(seed).choices(values, k=700)
    found = read_texts(*column(texts, dtype))
    assert found.tolist() == texts
    if max(len(value.encode()) for value in values) <= 32:
        assert isinstance(found, EncodedStrings)
        assert sorted(found.values) == sorted(set(texts))


@pytest.mark.parametrize("length", range(33))
def test_texts_that_differ_in_one_byte_are_told_apart(length: int):
    """Wherever the byte is, in texts of every length that is looked at."""
    base = "abcdefghijklmnopqrstuvwxyzABCDEF"[:length]
    values = [base, *(base[:at] + "\x00" + base[at + 1 :] for at in range(length))]
    values += [base[:at] for at in range(length)]
    texts = random.Random(length).choices(values, k=3000)
    assert read_texts(*column(texts)).tolist() == texts


def test_texts_whose_hashes_meet_stay_apart(monkeypatch: pytest.MonkeyPatch):
    """With two bits of a hash, five texts must share one."""
    monkeypatch.setattr(arrow_text, "_HASH_BITS", 2)
    texts = random.Random(1).choices(["a", "b", "c", "d", "e"], k=1000)
    found = read_texts(*column(texts))
    assert isinstance(found, EncodedStrings)
    assert found.tolist() == texts


def test_a_value_that_comes_late_is_seen():
    texts = ["usual"] * 5000 + ["late"]
    found = read_texts(*column(texts))
    assert isinstance(found, EncodedStrings)
    assert found.tolist() == texts


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param([f"t{number}" for number in range(1000)], id="all differ"),
        pytest.param(["x" * 33] * 1000, id="long"),
        pytest.param(["é", "ab"] * 10, id="few rows"),
    ],
)
def test_other_texts_are_read_one_by_one(texts: list[str]):
    found = read_texts(*column(texts))
    assert isinstance(found, np.ndarray)
    assert found.tolist() == texts


@pytest.mark.parametrize("rows", [3, 1000])
def test_what_is_not_utf8_is_refused(rows: int):
    data = b"\xff\xfe" * rows
    with pytest.raises(UnicodeDecodeError):
        read_texts(memoryview(data), np.arange(0, 2 * rows + 1, 2))
