"""`POST /predict`: right answers, and for everything else an error that names the field."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper

from modelyard.serving.faults import MAX_FAULTS
from modelyard.serving.predict import LARGE_BODY_BYTES
from modelyard.serving.runner import RunnerError
from unit.serving.conftest import MakeServer, Server
from unit.serving.model_folders import CONTRACT, ROW, contract_with, save_graph, save_toy_graph

JSON = {"content-type": "application/json"}


def post(server: Server, body: Any, **headers: str) -> httpx.Response:
    """Post `body`: bytes as they are, anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return server.ask("POST", "/predict", content=content, headers=JSON | headers)


def row(**changes: Any) -> dict[str, Any]:
    return ROW | changes


def raw(field: str, text: str) -> bytes:
    """The usual row with the JSON text of one field replaced."""
    parts = {name: json.dumps(value) for name, value in ROW.items()} | {field: text}
    return b"{" + ",".join(f'"{k}":{v}' for k, v in parts.items()).encode("utf-8") + b"}"


def check_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """An error is always a whole problem document, in valid JSON."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    problem = json.loads(answer.text, parse_constant=refuse)
    assert {"type", "title", "status", "detail", "instance"} <= problem.keys()
    assert problem["status"] == status
    assert problem["instance"] == answer.headers["x-request-id"]
    return problem


# -- answers ----------------------------------------------------------------------------------


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


# -- faults -----------------------------------------------------------------------------------

FAULTS: list[tuple[str, str, str]] = [
    ("amount", '"12.5"', "must be a number"),
    ("amount", "true", "must be a number"),
    ("amount", "null", "must be a number"),
    ("amount", "[1]", "must be a number"),
    ("amount", '{"a":{"b":1}}', "must be a number"),
    ("amount", "NaN", "must be finite"),
    ("amount", "Infinity", "must be finite"),
    ("amount", "-Infinity", "must be finite"),
    ("amount", "1e999", "must be finite"),
    ("amount", "-1e999", "must be finite"),
    ("amount", "1" + "0" * 30, "must be at most 999"),
    ("amount", "1" + "0" * 500, "is too large"),
    ("amount", "9" * 5000, "is too large"),
    ("amount", "-0.001", "must be at least 0"),
    ("amount", "999.001", "must be at most 999"),
    ("hour", "3.5", "must be a whole number"),
    ("hour", "3.0", "must be a whole number"),
    ("hour", '"3"', "must be a whole number"),
    ("hour", "false", "must be a whole number"),
    ("hour", "24", "must be at most 23"),
    ("hour", "-1", "must be at least 0"),
    ("hour", "1" + "0" * 30, "is too large"),
    ("hour", "9" * 5000, "is too large"),
    ("hour", "-" + "9" * 5000, "is too large"),
    ("hour", "1e2", "must be a whole number"),
    ("is online", "1", "must be true or false"),
    ("is online", '"true"', "must be true or false"),
    ("merchant_category", '"fashion"', "must be one of: electronics, grocery, books: new"),
    ("merchant_category", '"Grocery"', "must be one of: electronics, grocery, books: new"),
    ("merchant_category", "1", "must be a string"),
    ("merchant_category", "null", "must be a string"),
    ("merchant_category", '"\\ud800"', "must be one of: electronics, grocery, books: new"),
    ("note", '"123456789"', "must have at most 8 characters"),
    ("note", '"\\ud800"', "must be valid Unicode text"),
    ("note", '"\\udc00\\ud800"', "must be valid Unicode text"),
    ("note", "7", "must be a string"),
    ("note", "[" * 20 + "]" * 20, "must be a string"),
]


@pytest.mark.parametrize(("field", "text", "message"), FAULTS)
def test_a_faulty_field_is_named_and_its_value_is_not_echoed(
    server: Server, field: str, text: str, message: str
):
    answer = post(server, raw(field, text))
    problem = check_problem(answer, 422)
    assert problem["errors"] == [{"loc": ["body", field], "msg": message}]
    assert field in problem["detail"]
    value = text.strip('"')
    if len(value) > 3 and value not in message:
        assert value not in answer.text
    both = b"[" + json.dumps(ROW).encode() + b"," + raw(field, text) + b"]"
    listed = check_problem(post(server, both), 422)
    assert listed["errors"] == [{"loc": ["body", 1, field], "msg": message}]


def test_every_faulty_field_of_every_row_is_named(server: Server):
    bad = row(amount="1", hour=99, shade="red")
    del bad["note"]
    problem = check_problem(post(server, [ROW, bad, 7, []]), 422)
    assert [(tuple(e["loc"]), e["msg"]) for e in problem["errors"]] == [
        (("body", 1, "amount"), "must be a number"),
        (("body", 1, "hour"), "must be at most 23"),
        (("body", 1, "note"), "is required"),
        (("body", 1, "shade"), "is not a feature of this model."),
        (("body", 2), "must be an object"),
        (("body", 3), "must be an object"),
    ]


def test_a_misspelt_feature_gets_a_hint(server: Server):
    bad = {("amonut" if name == "amount" else name): value for name, value in ROW.items()}
    errors = check_problem(post(server, bad), 422)["errors"]
    assert errors[0] == {"loc": ["body", "amount"], "msg": "is required"}
    assert errors[1]["msg"] == 'is not a feature of this model. Did you mean "amount"?'


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (raw("amount", '1,"amount":2'), ["body", "amount"]),
        (raw("amount", '1,"amount":1'), ["body", "amount"]),
        (raw("amount", '1,"\\u0061mount":2'), ["body", "amount"]),
        (raw("note", '"a:b","note":"c"'), ["body", "note"]),
        (b"[" + raw("hour", '1,"hour":1') + b"]", ["body", 0, "hour"]),
    ],
)
def test_a_key_that_stands_twice_is_refused(server: Server, body: bytes, place: list[Any]):
    assert check_problem(post(server, body), 422)["errors"] == [
        {"loc": place, "msg": "stands more than once"}
    ]


@pytest.mark.parametrize("name", ["\ud800", "a\u0000", "x" * 1000, "\u202etnuoma"])
def test_a_name_that_cannot_be_shown_is_not(server: Server, name: str):
    problem = check_problem(post(server, row(**{name: 1})), 422)
    assert problem["errors"][0]["loc"] == ["body", "(a name that cannot be shown)"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"nope",
        b"{'amount': 1}",
        json.dumps(ROW).encode() + b"x",
        json.dumps(ROW).encode()[:-1] + b",}",
        raw("amount", "01"),
        raw("amount", "+1"),
        raw("amount", "1."),
        raw("amount", "0x10"),
        raw("note", '"a\nb"'),
        raw("note", '"\\x41"'),
        raw("note", '"a').replace(b"a", b"\xff"),
        json.dumps(ROW).encode("utf-16"),
        b"\xef\xbb\xbf" + json.dumps(ROW).encode(),
        raw("note", '"\xc3"').replace(b"\xc3\x83", b"\xc3"),
        b"[" * 250_000,
        raw("note", "[" * 32 + "]" * 32),
        raw("note", '{"a":' * 32 + "1" + "}" * 32),
        b'{"amount":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"\x00" * 100,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_is_no_json_is_answered_400(server: Server, body: bytes):
    assert "must be JSON" in check_problem(post(server, body), 400)["detail"]


@pytest.mark.parametrize("body", [b"1", b'"x"', b"null", b"true", b"NaN", b"[]", b"[[]]", b"{}"])
def test_json_of_another_shape_is_answered_422(server: Server, body: bytes):
    assert check_problem(post(server, body), 422)["errors"]


def test_an_answer_lists_a_bounded_number_of_faults(server: Server):
    problem = check_problem(post(server, [{}] * 1000), 422)
    assert len(problem["errors"]) == MAX_FAULTS
    assert f"first {MAX_FAULTS} faults" in problem["detail"]
    hostile = {f"unknown{i}": 1 for i in range(50_000)}
    assert len(check_problem(post(server, hostile), 422)["errors"]) == MAX_FAULTS


# -- limits -----------------------------------------------------------------------------------


def test_a_body_over_the_limit_is_refused_announced_or_not(make_server: MakeServer):
    server = make_server(serving_max_body_bytes=1024)
    server.serve(1)

    async def pieces():
        for _ in range(100):
            yield b" " * 100

    assert check_problem(post(server, b" " * 1025), 413)["type"].endswith("body-too-large")
    check_problem(server.ask("POST", "/predict", content=pieces(), headers=JSON), 413)
    padding = 1024 - len(json.dumps(ROW))
    assert post(server, json.dumps(ROW).encode() + b" " * padding).status_code == 200


def test_a_body_may_come_in_pieces(server: Server):
    text = json.dumps(ROW).encode()

    async def pieces():
        for byte in text:
            yield bytes([byte])

    assert server.ask("POST", "/predict", content=pieces(), headers=JSON).status_code == 200


def test_rows_over_the_limit_are_refused(make_server: MakeServer):
    server = make_server(serving_max_rows=2)
    server.serve(1)
    assert post(server, [ROW] * 2).status_code == 200
    assert "at most 2 rows" in check_problem(post(server, [ROW] * 3), 413)["detail"]
    check_problem(post(server, [{}] * 3), 413)


def test_another_content_type_is_refused(server: Server):
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ):
        answer = post(server, ROW, **{"content-type": content_type})
        assert "Content-Type: application/json" in check_problem(answer, 415)["detail"]
    check_problem(post(server, ROW, **{"content-type": "application/json; charset=latin-1"}), 415)
    check_problem(post(server, ROW, **{"content-encoding": "gzip"}), 415)
    check_problem(server.ask("POST", "/predict", content=json.dumps(ROW)), 415)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_refused(server: Server, method: str):
    answer = server.ask(method, "/predict")
    check_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_without_a_model_the_answer_says_how_to_get_one(make_server: MakeServer):
    answer = post(make_server(), ROW)
    check_problem(answer, 503)
    assert answer.headers["retry-after"]
    assert "x-model-version" not in answer.headers


def test_more_requests_than_the_limit_are_told_to_come_again(make_server: MakeServer):
    server = make_server(serving_max_concurrency=2)
    server.serve(1)
    release = asyncio.Event()

    async def slow_body():
        await release.wait()
        yield json.dumps(ROW).encode()

    async def main(client: httpx.AsyncClient) -> list[int]:
        held = [
            asyncio.create_task(client.post("/predict", content=slow_body(), headers=JSON))
            for _ in range(2)
        ]
        while server.app._metrics.in_flight < 2:  # noqa: ASYNC110 - the count knows no event
            await asyncio.sleep(0)
        refused = await client.post("/predict", json=ROW)
        check_problem(refused, 503)
        assert refused.headers["retry-after"]
        release.set()
        answers = await asyncio.gather(*held)
        after = await client.post("/predict", json=ROW)
        return [answer.status_code for answer in (*answers, after)]

    assert server.run(main) == [200, 200, 200]


def test_a_body_that_never_ends_is_given_up(make_server: MakeServer):
    server = make_server(serving_request_timeout_s=0.05)
    server.serve(1)

    async def endless():
        yield b"{"
        await asyncio.sleep(3600)

    async def main(client: httpx.AsyncClient) -> httpx.Response:
        watch = asyncio.create_task(server.app._predict.deadlines.watch())
        try:
            return await client.post("/predict", content=endless(), headers=JSON)
        finally:
            watch.cancel()

    check_problem(server.run(main), 408)
    assert server.app._metrics.in_flight == 0
    assert post(server, ROW).status_code == 200


def test_a_model_that_takes_too_long_is_given_up_and_the_server_goes_on(make_server: MakeServer):
    server = make_server(serving_request_timeout_s=0.05)
    server.serve(1)
    snapshot = server.holder.snapshot
    release = threading.Event()
    server.holder.snapshot = _with_runner(
        snapshot, _Blocking(snapshot.runner, release), inline=False
    )

    async def main(client: httpx.AsyncClient) -> httpx.Response:
        watch = asyncio.create_task(server.app._predict.deadlines.watch())
        try:
            answer = await client.post("/predict", json=ROW)
            assert (await client.get("/livez")).status_code == 200
            return answer
        finally:
            watch.cancel()
            release.set()

    assert "no answer within" in check_problem(server.run(main), 503)["detail"]


# -- ids --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/predict", "/livez", "/nothing"])
def test_a_sane_request_id_comes_back_and_another_does_not(server: Server, path: str):
    for given, kept in [
        ("abc-123", True),
        ("a" * 128, True),
        ("a" * 129, False),
        ("a b", False),
        ('"><script>', False),
        ("", False),
    ]:
        answer = server.ask("POST", path, json=ROW, headers={"x-request-id": given})
        assert (answer.headers["x-request-id"] == given) is kept
        assert answer.headers["x-model-version"] == "1"


def test_made_ids_differ(server: Server):
    ids = {post(server, ROW).headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


# -- many at once -----------------------------------------------------------------------------


def test_rows_of_one_tick_share_a_call_and_each_gets_its_own_answer(server: Server):
    snapshot = server.holder.snapshot
    counting = _Counting(snapshot.runner)
    server.holder.snapshot = _with_runner(snapshot, counting)

    async def main(client: httpx.AsyncClient) -> list[httpx.Response]:
        jobs = []
        for number in range(200):
            bodies = row(amount=number), [row(amount=number), row(amount=999 - number)]
            jobs.append(client.post("/predict", json=bodies[number % 2]))
        return await asyncio.gather(*jobs)

    for number, answer in enumerate(server.run(main)):
        expected = [1000.0 + number] + ([1999.0 - number] if number % 2 else [])
        assert answer.json()["prediction"] == expected
    assert sum(counting.rows) == 300
    assert len(counting.rows) < 100


def test_a_faulty_request_among_many_costs_only_itself(server: Server):
    async def main(client: httpx.AsyncClient) -> list[httpx.Response]:
        jobs = [
            client.post("/predict", json=row(amount=-1 if number % 7 == 0 else number))
            for number in range(50)
        ]
        return await asyncio.gather(*jobs)

    for number, answer in enumerate(server.run(main)):
        assert answer.status_code == (422 if number % 7 == 0 else 200)


def test_a_row_on_which_the_model_fails_costs_only_its_own_request(server: Server):
    snapshot = server.holder.snapshot
    server.holder.snapshot = _with_runner(snapshot, _Allergic(snapshot.runner, amount=13))

    async def main(client: httpx.AsyncClient) -> list[httpx.Response]:
        return await asyncio.gather(
            *(client.post("/predict", json=row(amount=number)) for number in range(30))
        )

    for number, answer in enumerate(server.run(main)):
        if number == 13:
            assert "secret reason" not in check_problem(answer, 500)["detail"]
        else:
            assert answer.json()["prediction"] == [1000.0 + number]


@pytest.mark.parametrize("inline", [True, False])
def test_a_swap_under_load_gives_no_failed_and_no_torn_answer(server: Server, inline: bool):
    server.holder.snapshot = _with_runner(
        server.holder.snapshot, server.holder.snapshot.runner, inline=inline
    )
    retired = [server.holder.snapshot.runner]

    async def ask(client: httpx.AsyncClient, answers: list[httpx.Response]) -> None:
        for number in range(30):
            answer = await client.post("/predict", json=row(amount=number))
            answers.append(answer)

    async def main(client: httpx.AsyncClient) -> list[httpx.Response]:
        answers: list[httpx.Response] = []
        clients = [asyncio.create_task(ask(client, answers)) for _ in range(16)]
        for version in range(2, 8):
            await asyncio.sleep(0.005)
            server.serve(version)
            if not inline:
                current = server.holder.snapshot
                server.holder.snapshot = _with_runner(current, current.runner, inline=False)
            retired.append(server.holder.snapshot.runner)
        await asyncio.gather(*clients)
        return answers

    versions = set()
    for answer in server.run(main):
        assert answer.status_code == 200, answer.text
        version = answer.headers["x-model-version"]
        assert answer.json()["model"]["version"] == version
        assert answer.json()["prediction"][0] // 1000 == int(version)
        versions.add(version)
    assert len(versions) > 1


def test_a_retired_model_is_closed_when_its_last_request_is_answered(server: Server):
    release = threading.Event()
    snapshot = server.holder.snapshot
    blocking = _Blocking(snapshot.runner, release)
    server.holder.snapshot = _with_runner(snapshot, blocking, inline=False)

    async def main(client: httpx.AsyncClient) -> httpx.Response:
        held = asyncio.create_task(client.post("/predict", json=ROW))
        await asyncio.to_thread(blocking.entered.wait, 10)
        server.serve(2)
        assert (await client.post("/predict", json=ROW)).headers["x-model-version"] == "2"
        assert not blocking.closed.is_set()
        release.set()
        answer = await held
        await asyncio.to_thread(blocking.closed.wait, 10)
        return answer

    assert server.run(main).headers["x-model-version"] == "1"
    assert blocking.closed.is_set()


def test_large_bodies_are_answered_like_small_ones(make_server: MakeServer):
    server = make_server(serving_max_rows=3000)
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


# -- runners that misbehave -------------------------------------------------------------------


class _Wrapped:
    description = "a wrapped runner"

    def __init__(self, runner):
        self.runner = runner

    def predict(self, columns):
        return self.runner.predict(columns)

    def close(self):
        self.runner.close()


class _Counting(_Wrapped):
    def __init__(self, runner):
        super().__init__(runner)
        self.rows: list[int] = []

    def predict(self, columns):
        self.rows.append(len(columns["amount"]))
        return super().predict(columns)


class _Allergic(_Wrapped):
    def __init__(self, runner, amount):
        super().__init__(runner)
        self.amount = amount

    def predict(self, columns):
        if self.amount in columns["amount"]:
            raise RunnerError("secret reason")
        return super().predict(columns)


class _Blocking(_Wrapped):
    def __init__(self, runner, release):
        super().__init__(runner)
        self.release, self.entered, self.closed = release, threading.Event(), threading.Event()

    def predict(self, columns):
        self.entered.set()
        self.release.wait(10)
        return super().predict(columns)

    def close(self):
        super().close()
        self.closed.set()


def _with_runner(snapshot, runner, *, inline=True):
    return replace(snapshot, runner=runner, runs_inline=inline)
