"""Columns are judged by array exactly as the contract judges their values one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from modelyard.contract import Contract
from modelyard.scoring.column import EncodedStrings
from modelyard.scoring.rows.columns import RawColumn, check_columns
from modelyard.scoring.rows.faults import Fault, RowsRefusedError
from support.models.toy import CONTRACT
from unit.scoring.test_decoder import WIDE

CONTRACTS = {"toy": Contract.model_validate(CONTRACT), "wide": Contract.model_validate(WIDE)}
NUMBERS = [
    0,
    1,
    -1,
    23,
    24,
    999,
    999.5,
    1000,
    0.5,
    120.5,
    121,
    1e308,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
]
ARRAYS: dict[str, np.ndarray] = {
    **{
        dtype: np.array([0, 1, 23, 24, 100, 120], dtype)
        for dtype in ("i1", "u1", "i2", "<i4", "u4")
    },
    "i8": np.array([n for n in NUMBERS if isinstance(n, int)], "i8"),
    "u8": np.array([0, 23, 24, 2**63 - 1, 2**63, 2**64 - 1], "u8"),
    "f8": np.array([*NUMBERS, math.nan, math.inf, -math.inf, -0.0, 5e-324], "f8"),
    "f4": np.array([0, 1, 999, 999.00006, 1000, math.nan, math.inf, 3e38], "f4"),
    "f2": np.array([0, 1, 999, 1000, math.nan, math.inf], "f2"),
    "bool": np.array([True, False]),
    "str": np.array(
        ["", "a", "grocery", "Grocery", "books: new", "x" * 9, "x" * 300, "\ud800"], object
    ),
}


def faults(contract: Contract, given: dict[str, RawColumn]) -> list[Fault]:
    try:
        columns = check_columns(given, contract, [])
    except RowsRefusedError as error:
        return list(error.faults)
    assert {name: column.dtype for name, column in columns.items()} == {
        f.name: np.dtype(f.type.dtype) for f in contract.features
    }
    return []


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
@pytest.mark.parametrize("kind", ARRAYS)
def test_every_value_of_every_dtype_is_judged_as_the_contract_does(contract: Contract, kind: str):
    for feature in contract.features:
        for array in (ARRAYS[kind], *ARRAYS[kind].reshape(-1, 1)):
            rows = len(array)
            given = {n: [v] * rows for n, v in contract.example.items()} | {feature.name: array}
            found = faults(contract, given)
            expected = [feature.fault(value) for value in array.tolist()]
            if any(
                "must be a " in (text or "") or "true or false" in (text or "") for text in expected
            ):
                (fault,) = found  # another type: said once, for the whole column
                assert fault.message.startswith("must be a column of")
            else:
                assert [(f.place[-1], f.message) for f in found] == [
                    (row, text) for row, text in enumerate(expected) if text
                ]


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
def test_lists_are_judged_value_by_value(contract: Contract):
    values = [*NUMBERS, 10**30, 10**400, math.nan, True, None, "", "a", "grocery", [], {}, "\ud800"]
    for feature in contract.features:
        given = {n: [v] * len(values) for n, v in contract.example.items()}
        found = faults(contract, given | {feature.name: values})
        assert [(f.place, f.message) for f in found] == [
            ([feature.name, row], text)
            for row, value in enumerate(values)
            if (text := feature.fault(value))
        ]


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
def test_a_dictionary_is_judged_by_the_values_that_rows_have(contract: Contract):
    good, bad = "a", "x" * 301
    for feature in contract.features:
        given: dict[str, RawColumn] = {n: [v] * 3 for n, v in contract.example.items()}
        for codes in ([0, 0, 0], [0, 1, 0]):
            given[feature.name] = EncodedStrings([good, bad], np.array(codes))
            expected = [text for code in codes if (text := feature.fault([good, bad][code]))]
            found = faults(contract, given)
            if feature.type.dtype == "object":
                assert [f.message for f in found] == expected
            else:
                assert found[0].message.startswith("must be a column of")


def test_an_answer_lists_a_bounded_number_of_faults():
    contract = CONTRACTS["toy"]
    given = {n: [v] * 100_000 for n, v in contract.example.items()}
    for bad in (np.full(100_000, -1.0), [-1.0] * 100_000, ["x"] * 100_000):
        assert len(faults(contract, given | {"amount": bad})) == 200


def test_columns_that_are_missing_or_unknown_are_named():
    contract = CONTRACTS["toy"]
    given: dict[str, RawColumn] = {n: [v] for n, v in contract.example.items() if n != "hour"}
    messages = [(f.place[-1], f.message) for f in faults(contract, given | {"huor": [1]})]
    assert messages == [
        ("hour", "is required"),
        ("huor", 'is not a feature of this model. Did you mean "hour"?'),
    ]
    assert set(
        check_columns(given | {"hour": [1], "x": [1]}, contract, [], ignore_unknown=True)
    ) == set(contract.names)
