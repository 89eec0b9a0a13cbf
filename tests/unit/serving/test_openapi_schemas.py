"""What `/openapi.json` says is taken is taken, and nothing else: validator and decoder agree."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from modelyard.contract import Contract, Feature, FeatureType
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.scoring.rows.faults import RowsRefusedError
from modelyard.serving.limits import Limits
from modelyard.serving.model.snapshot import Snapshot
from modelyard.serving.problem import Problem
from modelyard.serving.protocols.exchange import ModelSpec
from modelyard.serving.protocols.native import JSON, NativeProtocol
from modelyard.serving.routes.openapi_schemas import input_schemas
from modelyard.settings import ServingSettings
from support.models.folders import write_version
from support.models.toy import contract_with
from support.serving_app import snapshot_of

INT64_MAX = 2**63 - 1
LARGEST_DOUBLE = 1.7976931348623157e308
EXACT = 2**53
"""Whole numbers up to here are exact as doubles; beyond, the decoder rounds before it compares."""

# the same examples in every run: a failure is a change of ours
bounded = settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@st.composite
def features(draw: st.DrawFn, name: str) -> Feature:
    kind = draw(st.sampled_from(list(FeatureType)))
    found: dict[str, Any] = {}
    match kind:
        case FeatureType.NUMBER | FeatureType.INTEGER:
            low = draw(st.sampled_from([None, -1e18, -3, -0.5, 0, 0.5, 7]))
            high = draw(st.sampled_from([None, 7, 7.5, 1e15, 9.3e18]))
            found = {"minimum": low, "maximum": high}
        case FeatureType.STRING:
            found = {"max_length": draw(st.sampled_from([1, 5, 300]))}
        case FeatureType.CATEGORY:
            choices = st.lists(texts, min_size=1, max_size=4, unique=True)
            found = {"categories": draw(choices), "allow_unknown": draw(st.booleans())}
    return Feature(name=name, type=kind, **found)


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    names = st.lists(st.sampled_from(["a", "b c", "d.e-f", "columns"]), min_size=1, unique=True)
    made = [draw(features(name)) for name in draw(names)]
    example = {
        feature.name: next(
            value for value in (7, True, "x", *feature.categories) if feature.fault(value) is None
        )
        for feature in made
    }
    return Contract(features=tuple(made), example=example)


values = (
    st.none()
    | st.booleans()
    | st.integers(-30, 30)
    | st.sampled_from([-(10**18), 10**15, EXACT, INT64_MAX, INT64_MAX + 1, -INT64_MAX - 2])
    | st.sampled_from([LARGEST_DOUBLE, -LARGEST_DOUBLE, 0.5, -0.5, 1e-300, 7.000001])
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.sampled_from(["", "x" * 5, "x" * 6, "é" * 6, "😀" * 5, "x" * 300, "x" * 301, "a:b"])
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
)


def is_alike_in_both(contract: Contract, name: str, value: Any) -> bool:
    """Whether JSON Schema and the decoder can agree on `value`.

    JSON Schema has one kind of number, in which 1.0 is whole and no number is rounded.
    """
    kind = contract.feature(name).type
    if kind is FeatureType.INTEGER:
        return not (isinstance(value, float) and value.is_integer())
    return kind is not FeatureType.NUMBER or type(value) is not int or abs(value) <= EXACT


@st.composite
def rows(draw: st.DrawFn, contract: Contract) -> dict[str, Any]:
    """A row that keeps the contract, but for some of its values or names."""
    row = dict(contract.example)
    for name in draw(st.lists(st.sampled_from(contract.names), max_size=2)):
        value = draw(values)
        if is_alike_in_both(contract, name, value):
            row[name] = value
    match draw(st.integers(0, 9)):
        case 0:
            del row[draw(st.sampled_from(contract.names))]
        case 1:
            row[draw(st.sampled_from(["z", "A", ""]))] = draw(values)
    return row


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    folder = tmp_path_factory.mktemp("model")
    write_version(folder)
    return snapshot_of(folder)


LIMITS = replace(Limits.of(ServingSettings(MODEL_URI="models:/toy/1")), max_string_length=300)


def spec_of(snapshot: Snapshot, contract: Contract) -> ModelSpec:
    decoder = RowDecoder(contract)
    return ModelSpec.of(replace(snapshot, contract=contract, decoder=decoder), LIMITS)


def takes(spec: ModelSpec, body: Any) -> bool:
    scope = {"method": "POST", "path": "/predict"}
    request_format = NativeProtocol(LIMITS).format_of(scope, {b"content-type": JSON})
    try:
        request_format.read(spec, json.dumps(body).encode())
    except (Problem, RowsRefusedError):
        return False
    return True


@bounded
@given(data=st.data())
def test_schema_and_decoder_agree_on_every_body(snapshot: Snapshot, data: st.DataObject):
    contract = data.draw(contracts())
    spec = spec_of(snapshot, contract)
    schemas = input_schemas(spec)
    is_row = jsonschema_rs.validator_for(schemas["Row"]).is_valid
    is_columns = jsonschema_rs.validator_for(schemas["Columns"]).is_valid
    assert is_row(contract.example)
    assert takes(spec, contract.example)
    for row in data.draw(st.lists(rows(contract), min_size=4, max_size=4)):
        assert takes(spec, row) == is_row(row)
        both = [dict(contract.example), row]
        assert takes(spec, both) == is_row(row)
        lists = {name: [value] for name, value in row.items()}
        assert takes(spec, {"columns": lists}) == is_columns({"columns": lists}) == is_row(row)
        if row.keys() == contract.example.keys():
            lists = {name: [contract.example[name], row[name]] for name in row}
            assert takes(spec, {"columns": lists}) == is_columns({"columns": lists}) == is_row(row)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"columns": {}},
        {"columns": {"a": []}},
        {"columns": {"a": 1}},
        {"columns": [1]},
        {"columns": {"a": [1]}, "a": 1},
        {"columns": {"a": [1], "b": [1]}},
        {"columns": {"a": [1, 2, None]}},
        "a",
        None,
    ],
)
def test_a_body_of_another_shape_is_neither_taken_nor_documented(snapshot: Snapshot, body: Any):
    contract = Contract.model_validate(
        contract_with(features=[{"name": "a", "type": "number"}], example={"a": 1})
    )
    spec = spec_of(snapshot, contract)
    for schema in input_schemas(spec).values():
        assert not jsonschema_rs.validator_for(schema).is_valid(body)
    assert not takes(spec, body)


def test_a_text_is_as_long_as_the_server_takes_it(snapshot: Snapshot):
    """A contract may allow more than `SERVING_MAX_STRING_LENGTH` does."""
    features = [{"name": "a", "type": "string", "max_length": 1000}]
    spec = spec_of(
        snapshot, Contract.model_validate(contract_with(features=features, example={"a": "x"}))
    )
    assert input_schemas(spec)["Row"]["properties"]["a"] == {"type": "string", "maxLength": 300}
    assert takes(spec, {"a": "x" * 300})
    assert not takes(spec, {"a": "x" * 301})


def test_a_category_lists_its_values_in_the_order_of_the_contract(snapshot: Snapshot):
    features = [
        {"name": "a", "type": "category", "categories": ["z", "x", "y"], "description": "A size."},
        {"name": "b", "type": "category", "categories": ["z", "x"], "allow_unknown": True},
    ]
    example = {"a": "x", "b": "?"}
    spec = spec_of(
        snapshot, Contract.model_validate(contract_with(features=features, example=example))
    )
    assert input_schemas(spec)["Row"]["properties"] == {
        "a": {"type": "string", "enum": ["z", "x", "y"], "description": "A size."},
        "b": {"type": "string", "maxLength": 256, "examples": ["z", "x"]},
    }
