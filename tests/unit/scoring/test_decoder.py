"""The fast decoder and the slow look at a body must agree on what is acceptable."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from modelyard.contract import Contract
from modelyard.scoring.rows.decoder import ColumnsDecoder, RowDecoder
from modelyard.scoring.rows.faults import RowsRefusedError
from modelyard.serving.limits import Size
from modelyard.serving.problem import Problem
from modelyard.serving.protocols.faults import examine
from modelyard.serving.protocols.json_text import UNDECODABLE
from support.models.toy import CONTRACT, ROW

SIZE = Size(2**20, 1000, "", "")
VALUES = [
    *(
        "0",
        "1",
        "-1",
        "0.5",
        "1e2",
        "1E-3",
        "-0",
        "-0.0",
        "23",
        "24",
        "999",
        "999.0000001",
        "1e308",
    ),
    *("1e309", "NaN", "Infinity", "-Infinity", "01", "1.", ".5", "+1", "0x1", "1_000"),
    *("9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"),
    *("1" + "0" * 30, "1" + "0" * 308, "1" + "0" * 309, "9" * 5000, "0." + "3" * 5000),
    *("true", "false", "null", "{}", "[]", '{"a":1}', "[1]", "[[1]]", "", "nul", "truex"),
    *('""', '"a"', '"grocery"', '"Grocery"', '"gro\\u0063ery"', '"12345678"', '"123456789"'),
    *('"éééééééé"', '"😀😀😀😀😀😀😀😀"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00\\ud83d"'),
    *('"a:b"', '"\\""', '"\\\\"', '"\\/"', '"\\x"', '"\\u00"', '"\t"', '"\\t"', '"\\u0000"', '"'),
    *('"\x7f"', '"\u2028"', "'a'", '"a" "b"', '"a",', "/**/1", "1//", " 1 ", "\u00a01"),
]

WIDE = {
    **CONTRACT,
    "features": [
        {"name": "amount", "type": "number"},
        {"name": "hour", "type": "integer"},
        {"name": "age", "type": "integer", "minimum": 0.5, "maximum": 120.5},
        {"name": "seen", "type": "boolean"},
        {"name": "kind", "type": "category", "categories": ["a", "", "grocery", "x" * 300]},
        {"name": "shop", "type": "category", "categories": ["a"], "allow_unknown": True},
        {"name": "note", "type": "string", "max_length": 8},
    ],
    "example": {
        "amount": 1.0,
        "hour": 2,
        "age": 3,
        "seen": True,
        "kind": "a",
        "shop": "b",
        "note": "c",
    },
}
CONTRACTS = {"toy": Contract.model_validate(CONTRACT), "wide": Contract.model_validate(WIDE)}


def fast(decoder: RowDecoder, body: bytes):
    try:
        rows = decoder.decode(body)
    except UNDECODABLE:
        return None
    return rows if rows and decoder.has_single_keys(body, rows) else None


def slow(decoder: RowDecoder, contract: Contract, body: bytes):
    try:
        return decoder.rows(examine(body, contract, SIZE, 32))
    except (Problem, RowsRefusedError):
        return None


def agree(contract: Contract, body: bytes) -> bool:
    """Whether `body` is acceptable; fails when the two ways disagree, but for keys with colons."""
    decoder = RowDecoder(contract)
    quick, thorough = fast(decoder, body), slow(decoder, contract, body)
    if quick is not None:
        assert thorough is not None, body
        one, other = decoder.columns(quick), decoder.columns(thorough)
        for name in contract.names:
            assert one[name].dtype == other[name].dtype
            assert one[name].tolist() == other[name].tolist(), body
    elif thorough is not None:  # only a closer look could tell that no key stands twice
        rows = decoder.decode(body)
        assert not decoder.has_single_keys(body, rows), body
    return thorough is not None


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
def test_every_value_in_every_field_is_judged_alike(contract: Contract):
    accepted = 0
    for name in contract.names:
        for text in VALUES:
            parts = {key: json.dumps(value) for key, value in contract.example.items()}
            parts[name] = text
            body = "{" + ",".join(f'"{key}":{value}' for key, value in parts.items()) + "}"
            accepted += agree(contract, body.encode())
    assert 10 < accepted < len(VALUES) * len(contract.names) / 2


@pytest.mark.parametrize("seed", range(20))
def test_damaged_bodies_are_judged_alike(seed: int):
    """Bytes cut, doubled, swapped and replaced at random places."""
    chance = random.Random(seed)
    for _ in range(100):
        body = bytearray(json.dumps([ROW, ROW] if chance.random() < 0.5 else ROW).encode())
        for _ in range(chance.randint(1, 3)):
            here = chance.randrange(len(body))
            match chance.randrange(4):
                case 0:
                    del body[here : here + chance.randint(1, 5)]
                case 1:
                    body[here:here] = body[here : here + chance.randint(1, 12)]
                case 2:
                    body[here] = chance.choice(b'{}[]",:0123456789.eE-+tfn\\u \x00\xff')
                case 3:
                    body[here:here] = chance.choice([b'"amount":1,', b"\\ud800", b"null", b"1e999"])
            body = body or bytearray(b" ")
        agree(CONTRACTS["toy"], bytes(body))


def test_columns_have_the_dtypes_of_the_contract_and_the_order_of_the_rows():
    decoder = RowDecoder(CONTRACTS["toy"])
    columns = decoder.columns(decoder.decode(json.dumps([ROW, {**ROW, "amount": 7}]).encode()))
    assert list(columns) == list(CONTRACTS["toy"].names)
    assert [c.dtype.kind for c in columns.values()] == ["f", "O", "i", "b", "O"]
    assert columns["amount"].tolist() == [12.5, 7.0]
    assert columns["amount"].dtype == np.float64


def test_whole_numbers_widen_exactly_as_floats_do():
    decoder = RowDecoder(CONTRACTS["wide"])
    for number in (2**53 + 1, 10**30, -(10**300)):
        body = json.dumps({**WIDE["example"], "amount": number}).encode()
        assert decoder.columns(decoder.decode(body))["amount"][0] == float(number)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
def test_every_value_in_every_column_is_judged_as_in_a_row(contract: Contract):
    """What is taken at once is right; what is not gets a closer look, which judges alone."""
    rows, columns = RowDecoder(contract), ColumnsDecoder(contract)
    taken = 0
    for name in contract.names:
        for text in VALUES:
            parts = {key: json.dumps(value) for key, value in contract.example.items()}
            lists = {key: [value, value] for key, value in parts.items()}
            lists[name] = [parts[name], text]
            written = ",".join(f'"{key}":[{",".join(v)}]' for key, v in lists.items())
            try:
                found = columns.decode(b'{"columns":{%b}}' % written.encode())
            except UNDECODABLE:
                found = None
            row = "{" + ",".join(f'"{k}":{v}' for k, v in (parts | {name: text}).items()) + "}"
            if found is None:
                continue
            taken += 1
            judged = slow(rows, contract, row.encode())
            assert judged is not None, (name, text)
            assert found[name].tolist()[1] == rows.columns(judged)[name].tolist()[0]
            assert found[name].dtype == rows.columns(judged)[name].dtype
    assert taken > len(contract.names)
