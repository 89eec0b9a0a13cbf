"""`POST /predict`: right answers, whatever the model and its contract."""

from __future__ import annotations

import json

import numpy as np
import pytest
from onnx import TensorProto, helper

from modelyard.serving.protocols.exchange import LARGE_BODY_BYTES
from support.models.toy import CONTRACT, ROW, contract_with, save_graph, save_toy_graph
from support.predict_requests import check_problem, post, raw, row
from support.serving_app import MakeServer, Server


def test_one_object_gets_a_list_of_one(server: Server):
    answer = post(server, row(amount=500))
    assert answer.status_code == 200
    assert answer.json() == {"prediction": [1500.0], "model": {"name": "toy", "version": "1"}}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-model-version"] == "1"
    assert answer.headers["x-request-id"]


def test_a_list_is_answered_in_its_order(server: Server):
    answer = post(server, [row(amount=a) for a in (3, 1, 2.5)])
    assert answer.json()["prediction"] == [1003.0, 1001.0, 1002.5]


@pytest.mark.parametrize(
    "body",
    [
        raw("amount", "5e2"),
        raw("amount", "-0"),
        raw("amount", "0.1E1"),
        raw("amount", "999"),
        raw("hour", "23"),
        raw("note", '""'),
        raw("note", '"12:30: x"'),
        raw("note", '"\\u00e9\\n\\ud83d\\ude00"'),
        raw("note", '"a\\u0000b"'),
        raw("merchant_category", '"books: new"'),
        raw("merchant_category", '"\\u0067rocery"'),
        json.dumps(ROW).encode().replace(b'"amount"', b'"\\u0061mount"'),
        json.dumps(ROW, indent=4).encode(),
        json.dumps(dict(reversed(ROW.items()))).encode(),
        b" \n" + json.dumps(ROW).encode() + b"\r\n\t",
        json.dumps([ROW] * 3).encode(),
    ],
)
def test_every_way_to_write_a_good_row_is_taken(server: Server, body: bytes):
    assert post(server, body).status_code == 200


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_may_be_declared_in_several_ways(server: Server, content_type: str):
    assert post(server, ROW, **{"content-type": content_type}).status_code == 200


def test_large_bodies_are_answered_like_small_ones(make_server: MakeServer):
    server = make_server(max_rows=3000)
    server.serve(1)
    rows = [row(amount=number % 1000) for number in range(3000)]
    assert len(json.dumps(rows)) > LARGE_BODY_BYTES
    answer = post(server, rows)
    assert answer.json()["prediction"] == [1000.0 + number % 1000 for number in range(3000)]
    rows[2718] = row(hour="3")
    problem = check_problem(post(server, rows), 422)
    assert problem["errors"] == [{"loc": ["body", 2718, "hour"], "msg": "must be a whole number"}]


def test_an_answer_that_is_not_finite_is_an_error_naming_the_rows(make_server: MakeServer):
    server = make_server()
    features = [{"name": "amount", "type": "number"}]
    contract = contract_with(features=features, example={"amount": 4})

    def root(path):
        nodes = [
            helper.make_node("Sqrt", ["amount"], ["root"]),
            helper.make_node("Cast", ["root"], ["answer"], to=TensorProto.FLOAT),
        ]
        inputs = {"amount": (TensorProto.DOUBLE, ["n"])}
        save_graph(path, nodes, inputs, {"answer": (TensorProto.FLOAT, ["n"])})

    server.serve(1, contract=contract, graph=root)
    assert post(server, {"amount": 9}).json()["prediction"] == [3.0]
    problem = check_problem(post(server, [{"amount": 9}, {"amount": -1}, {"amount": 1e300}]), 422)
    assert [error["loc"] for error in problem["errors"]] == [["body", 1], ["body", 2]]


def test_class_probabilities_are_one_list_a_row(make_server: MakeServer):
    server = make_server()
    contract = contract_with(
        features=[{"name": "amount", "type": "number"}],
        example={"amount": 4},
        output={"name": "p", "kind": "class_probabilities", "classes": ["a", "b", "c"]},
    )

    def classifier(path):
        nodes = [
            helper.make_node("Cast", ["amount"], ["x"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Softmax", ["z"], ["p"], axis=1),
        ]
        inputs = {"amount": (TensorProto.DOUBLE, ["n", 1])}
        weights = {"w": (TensorProto.FLOAT, [1, 3], [0.0, 1.0, 2.0])}
        save_graph(path, nodes, inputs, {"p": (TensorProto.FLOAT, ["n", 3])}, weights)

    server.serve(1, contract=contract, graph=classifier)
    prediction = post(server, [{"amount": 0}, {"amount": 1}]).json()["prediction"]
    assert np.shape(prediction) == (2, 3)
    assert np.allclose(np.sum(prediction, axis=1), 1)
    assert np.shape(post(server, {"amount": 0}).json()["prediction"]) == (1, 3)


def test_features_may_have_any_name_that_a_contract_allows(make_server: MakeServer):
    server = make_server()
    names = ["class", "self", "a-b", "x.y", "__init__", "f0", "def", "model"]
    features = [{"name": n, "type": "number"} for n in ["amount", *names]]
    contract = contract_with(features=features, example=dict.fromkeys(["amount", *names], 1))
    server.serve(1, contract=contract, graph=lambda path: save_toy_graph(path, 1, contract))
    body = dict.fromkeys(["amount", *names], 2)
    assert post(server, body).json()["prediction"] == [1002.0]
    errors = check_problem(post(server, body | {"a-b": "x"}), 422)["errors"]
    assert errors == [{"loc": ["body", "a-b"], "msg": "must be a number"}]


def test_an_unknown_category_reaches_the_model_when_the_contract_allows_it(
    make_server: MakeServer,
):
    server = make_server()
    features = [dict(f) for f in CONTRACT["features"]]
    features[1] |= {"allow_unknown": True, "max_length": 12}
    server.serve(1, contract=contract_with(features=features))
    assert post(server, row(merchant_category="fashion")).status_code == 200
    errors = check_problem(post(server, row(merchant_category="x" * 13)), 422)["errors"]
    assert errors[0]["msg"] == "must have at most 12 characters"
