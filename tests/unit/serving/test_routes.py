"""What FastAPI answers: state, model, admin, metrics, documentation, and errors as problems."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from modelyard import __version__
from support.models.toy import CONTRACT, ROW, contract_with
from support.serving_app import TOKEN, MakeServer, Server


def check_problem(answer, status: int) -> dict:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["instance"] == answer.headers["x-request-id"]
    return problem


def test_health_and_life_without_a_model(make_server: MakeServer):
    server = make_server()
    assert server.ask("GET", "/livez").status_code == 200
    check_problem(server.ask("GET", "/health"), 503)
    problem = check_problem(server.ask("GET", "/model"), 503)
    assert problem["follower"]["state"] == "starting"


def test_health_with_a_model(server: Server):
    answer = server.ask("GET", "/health")
    assert answer.status_code == 200
    assert answer.json() == {"status": "healthy"}
    assert answer.headers["x-model-version"] == "1"


def test_the_model_tells_where_it_comes_from(server: Server):
    server.holder.replace(server.loader.load(server.registry.add(7), None))
    model = server.ask("GET", "/model").json()
    assert model["name"] == "toy"
    assert model["version"] == "7"
    assert model["uri"] == "models:/toy@champion"
    assert model["run_id"] == "run7"
    assert model["commit"] == "abc123"
    assert model["data_version"] == "d41d8"
    assert model["metrics"] == {"auc": 0.9, "broken": None}
    assert model["manifest"] == "verified"
    assert model["contract"]["example"] == ROW
    assert model["contract_source"] == "contract.yaml"
    assert model["example_tried"] is True
    assert model["loaded_at"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/predict/", 404),
        ("GET", "/health/", 404),
        ("POST", "/health", 405),
        ("GET", "/admin/reload", 405),
        ("DELETE", "/model", 405),
        ("GET", "/%00", 400),
        ("GET", "/../../etc/passwd", 404),
    ],
)
def test_what_is_not_there_is_a_problem(server: Server, method: str, path: str, status: int):
    check_problem(server.ask(method, path), status)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 401),
        ("", 401),
        ("Basic c2VzYW1l", 401),
        ("Bearer", 401),
        ("Bearer wrong", 403),
        (f"Bearer {TOKEN}x", 403),
        (f"Bearer {TOKEN[:-1]}", 403),
        ("Bearer sesam\u00e9", 403),
    ],
)
def test_admin_needs_the_token(server: Server, header: str | None, status: int):
    headers = {} if header is None else {"authorization": header.encode("utf-8")}
    answer = server.ask("POST", "/admin/reload", headers=headers)
    problem = check_problem(answer, status)
    assert TOKEN not in json.dumps(problem)
    assert ("www-authenticate" in answer.headers) is (status == 401)


@pytest.mark.parametrize("content", [None, "", " \n"])
def test_without_a_token_admin_refuses_everybody(make_server: MakeServer, tmp_path: Path, content):
    path = tmp_path / "none"
    if content is not None:
        path.write_text(content)
    server = make_server(admin_token_file=path)
    for value in ("Bearer ", "Bearer x", "Bearer  "):
        problem = check_problem(
            server.ask("POST", "/admin/reload", headers={"authorization": value}), 403
        )
        assert "SERVING_ADMIN_TOKEN_FILE" in problem["detail"]


def test_a_defect_shows_nothing_of_itself(server: Server, monkeypatch):
    def fail(*_):
        raise ValueError("secret detail")

    monkeypatch.setattr("modelyard.serving.routes.native.view_model", fail)
    problem = check_problem(server.ask("GET", "/model"), 500)
    assert "secret" not in json.dumps(problem)


# -- documentation -------------------------------------------------------------------------------


def test_the_documentation_is_typed_by_the_served_model(server: Server):
    document = server.ask("GET", "/openapi.json").json()
    assert document["info"]["title"] == "toy, version 1"
    assert document["info"]["version"] == __version__
    row = document["components"]["schemas"]["Row"]
    assert row["required"] == [f["name"] for f in CONTRACT["features"]]
    assert row["additionalProperties"] is False
    assert row["example"] == ROW
    assert row["properties"]["amount"] == {
        "type": "number",
        "format": "double",
        "minimum": 0,
        "maximum": 999,
        "description": "[EUR]",
    }
    assert row["properties"]["merchant_category"]["enum"] == [
        "electronics",
        "grocery",
        "books: new",
    ]
    assert row["properties"]["hour"]["type"] == "integer"
    assert row["properties"]["is online"] == {"type": "boolean"}
    assert row["properties"]["note"] == {"type": "string", "maxLength": 8}
    assert {"200", "400", "413", "415", "422", "503"} <= document["paths"]["/predict"]["post"][
        "responses"
    ].keys()
    assert {"/health", "/livez", "/model", "/admin/reload", "/metrics"} <= document["paths"].keys()
    columns = document["components"]["schemas"]["Columns"]["properties"]["columns"]
    assert columns["properties"]["hour"]["items"] == row["properties"]["hour"]
    content = document["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert content.keys() == {"application/json", "application/vnd.apache.arrow.stream"}
    assert content["application/json"]["examples"]["row"]["value"] == ROW
    infer = document["components"]["schemas"]["InferenceRequest"]
    assert [tensor["name"] for tensor in infer["example"]["inputs"]] == list(ROW)


def test_swagger_ui_comes_from_this_server_alone(server: Server):
    page = server.ask("GET", "/docs").text
    assert "/openapi.json" in page
    addresses = re.findall(r"""(?:src|href)=["']([^"']+)["']""", page)
    assert len(addresses) == 3
    for address in addresses:
        assert address.startswith("/docs/assets/")
        answer = server.ask("GET", address)
        assert answer.status_code == 200
        assert len(answer.content) > 500
    assert not re.search(r"https?://", page)
    check_problem(server.ask("GET", "/docs/assets/nothing"), 404)
    check_problem(server.ask("GET", "/docs/assets/../../secret"), 404)


def test_the_documentation_changes_with_the_model(server: Server):
    features = [{"name": "amount", "type": "number"}]
    server.serve(2, contract=contract_with(features=features, example={"amount": 1}))
    document = server.ask("GET", "/openapi.json").json()
    assert document["info"]["title"] == "toy, version 2"
    assert list(document["components"]["schemas"]["Row"]["properties"]) == ["amount"]


def test_the_documentation_is_there_without_a_model(make_server: MakeServer):
    document = make_server().ask("GET", "/openapi.json").json()
    assert document["components"]["schemas"]["Row"] == {"type": "object"}
    assert document["paths"]["/predict"]


def test_every_reference_in_the_document_leads_somewhere(server: Server):
    document = server.ask("GET", "/openapi.json").json()
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= document["components"]["schemas"].keys()


# -- metrics -------------------------------------------------------------------------------------


def test_metrics_count_what_happened(server: Server):
    for body in (ROW, [ROW] * 3, {"amount": 1}):
        server.ask("POST", "/predict", json=body)
    server.ask("GET", "/livez")
    for path in ("/a", "/b", "/c"):
        server.ask("GET", path)
    answer = server.ask("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    predict = ("route", "/predict")
    assert samples["modelyard_requests_total", predict, ("status", "200")] == 2
    assert samples["modelyard_requests_total", predict, ("status", "422")] == 1
    assert samples["modelyard_requests_total", ("route", "other"), ("status", "404")] == 3
    assert samples["modelyard_errors_total", ("class", "client"), predict] == 1
    assert samples["modelyard_refusals_total", ("reason", "invalid-input")] == 1
    assert samples["modelyard_rows_total",] == 4
    assert samples["modelyard_predict_seconds_count", predict] == 3
    assert samples["modelyard_predict_seconds_bucket", ("le", "+Inf"), predict] == 3
    assert samples["modelyard_batch_rows_sum",] == 4
    assert samples["modelyard_in_flight",] == 0
    assert samples["modelyard_ready",] == 1
    info = ("name", "toy"), ("run_id", "run"), ("version", "1")
    assert samples["modelyard_model_info", *info] == 1
    assert samples["process_resident_memory_bytes",] > 0


@pytest.mark.parametrize("path", ["/invocations%0a", "/predict%0d", "/v2%09/x", "/pi%0ang"])
def test_a_path_is_read_in_one_way_when_it_is_routed_and_when_it_is_refused(
    server: Server, path: str
):
    """A URL parser drops line ends and tabs: the refusal would speak another route's protocol."""
    check_problem(server.ask("GET", path), 400)
