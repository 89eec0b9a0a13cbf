"""Pages of the listed origins may ask and read, and no others."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelyard.settings import ServingSettings
from support.connections import Wire, over_the_wire, read_answer, request
from support.models.toy import ROW
from support.serving_app import MakeServer, Server

PAGE, OTHER = "https://app.example.org", "http://localhost:3000"
ALLOWED = "access-control-allow-origin"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "x-own"}


@pytest.fixture
def open_server(make_server: MakeServer) -> Server:
    server = make_server(cors_origins=f" {PAGE}/, {OTHER.upper()} ")
    server.serve(1)
    return server


def test_a_listed_page_can_read_every_answer(open_server: Server):
    for method, path, status in (
        ("POST", "/predict", 200),
        ("POST", "/invocations", 400),
        ("POST", "/v2/models/toy/infer", 400),
        ("GET", "/model", 200),
        ("GET", "/livez", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/predict", 405),
    ):
        for origin in (PAGE, OTHER):
            answer = open_server.ask(method, path, headers={"origin": origin}, json=ROW)
            assert answer.status_code == status
            assert answer.headers[ALLOWED] == origin
            assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
            assert "X-Model-Version" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"
            assert "access-control-allow-credentials" not in answer.headers


def test_refusals_and_absences_can_be_read(make_server: MakeServer):
    server = make_server(cors_origins=PAGE)
    ask = {"headers": {"origin": PAGE}}
    assert server.ask("POST", "/predict", json=ROW, **ask).headers[ALLOWED] == PAGE
    assert server.ask("GET", "/health", **ask).status_code == 503
    server.serve(1)
    wrong = server.ask("POST", "/predict", json={}, **ask)
    assert (wrong.status_code, wrong.headers[ALLOWED]) == (422, PAGE)


def test_a_preflight_is_answered(open_server: Server):
    for path in ("/predict", "/invocations", "/v2/models/toy/infer", "/model", "/nowhere"):
        answer = open_server.ask("OPTIONS", path, headers={"origin": PAGE, **PREFLIGHT})
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers[ALLOWED] == PAGE
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == "*, Authorization"
        assert answer.headers["x-request-id"]


def test_any_other_page_cannot(open_server: Server):
    lookalike, other_port = "https://app.example.org.evil", PAGE + ":8443"
    for origin in ("https://evil.example", "null", lookalike, other_port, ""):
        for method in ("POST", "GET"):
            answer = open_server.ask(method, "/predict", headers={"origin": origin}, json=ROW)
            assert ALLOWED not in answer.headers
            assert answer.headers["vary"] == "Origin"
        answer = open_server.ask("OPTIONS", "/predict", headers={"origin": origin, **PREFLIGHT})
        assert answer.status_code == 403
        assert ALLOWED not in answer.headers
        assert "SERVING_CORS_ORIGINS" in answer.json()["detail"]


@pytest.mark.parametrize("origins", [PAGE, "*"])
def test_what_steers_or_shows_the_server_is_for_no_page(make_server: MakeServer, origins: str):
    server = make_server(cors_origins=origins)
    for method, path in (
        ("POST", "/admin/reload"),
        ("GET", "/metrics"),
        ("POST", "/v2/repository/models/toy/load"),
    ):
        for asked, headers in ((method, {}), ("OPTIONS", PREFLIGHT)):
            answer = server.ask(asked, path, headers={"origin": PAGE, **headers})
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_all_pages_may_where_that_is_the_setting(make_server: MakeServer):
    server = make_server(cors_origins="*")
    server.serve(1)
    answer = server.ask("POST", "/predict", headers={"origin": "null"}, json=ROW)
    assert answer.headers[ALLOWED] == "*"
    assert "vary" not in answer.headers


def test_none_may_without_the_setting(server: Server):
    answer = server.ask("POST", "/predict", headers={"origin": PAGE}, json=ROW)
    assert answer.status_code == 200
    assert ALLOWED not in answer.headers
    answer = server.ask("OPTIONS", "/predict", headers={"origin": PAGE, **PREFLIGHT})
    assert answer.status_code == 405


def test_a_page_gets_its_answer_over_a_real_connection_too(open_server: Server):
    async def work(wire: Wire) -> tuple[object, object]:
        reader, writer = await wire.connect()
        writer.write(request(ROW, origin=PAGE))
        paged = await read_answer(reader)
        writer.write(request(ROW))
        plain = await read_answer(reader)
        writer.close()
        assert wire.ordinary == ["/predict"]  # the page's alone
        return paged, plain

    paged, plain = over_the_wire(open_server, work)
    assert paged.heads[ALLOWED.encode()] == PAGE.encode()
    assert ALLOWED.encode() not in plain.heads
    assert paged.value["prediction"] == plain.value["prediction"]


@pytest.mark.parametrize(
    "text",
    ["example.org", "https://example.org/path", "*,https://a.org", "ftp://a.org", "null", "http://",
     "https://a.org:port", "https://*.a.org", "https://user@a.org", "https://größe.de"],
)  # fmt: skip
def test_what_is_no_origin_is_said_at_the_start(text: str):
    with pytest.raises(ValidationError, match="expected origins of web pages"):
        ServingSettings(MODEL_URI="models:/toy@champion", cors_origins=text)
