"""One reading of every path and every header, or none."""

from __future__ import annotations

import httpx
import pytest

from modelyard.serving.problem import Problem
from modelyard.serving.web.request_head import MAX_HEADERS, check_headers, check_path
from support.models.toy import NAME, ROW
from support.serving_app import MakeServer, Server

GOOD = (
    "/",
    "/predict",
    "/v2/",
    "/v2/models/fraud-detector/infer",
    "/v2/models/Gr%C3%B6%C3%9Fe%20%25%3A/versions/1",
    "/pred%69ct",
    "/docs/assets/swagger-ui.css",
    "/..a/a../...",
    "/a;b=c,d@e!$&'()*+",
)
BAD = (
    "",
    "*",
    "metrics",
    "//metrics",
    "/v2//models",
    "/metrics//",
    "/metrics%0a",
    "/metrics%0A/",
    "/%00",
    "/metrics%7f",
    "/metrics%C2%85",
    "/metrics%E2%80%A8",
    "/metrics%",
    "/metrics%0",
    "/v2/repository/models/NAME%zz/load",
    "/%u0061dmin",
    "/metrics%ff",
    "/metrics%C0%AF",
    "/%ED%A0%80",
    "/./metrics",
    "/x/../metrics",
    "/x/%2e%2e/metrics",
    "/x/.%2E/metrics",
    "/metrics/.",
    "/v2/models/a%2Finfer",
    "/v2/models/..%2f..%2fmetrics",
    "/x\\..\\metrics",
    "/x%5c..%5Cmetrics",
    "/metrics#",
    "/metrics ",
    "/metrics\n",
    "/metr\tics",
    '/"',
    "/<a>",
    "/größe",
)


@pytest.mark.parametrize("path", GOOD)
def test_a_path_with_one_reading_passes(path: str):
    check_path(path.encode())


@pytest.mark.parametrize("path", BAD)
def test_a_path_with_more_than_one_is_refused(path: str):
    with pytest.raises(Problem) as refusal:
        check_path(path.encode())
    assert (refusal.value.status, refusal.value.kind) == (400, "bad-path")


def test_the_server_says_what_is_wrong_with_a_path(server: Server):
    for path in (
        "/metrics%0a",
        "/v2/repository/models/toy%zz/load",
        "//metrics",
        "/v2/models/..%2f",
    ):
        for method in ("GET", "POST", "PUT", "OPTIONS"):
            answer = server.ask(method, httpx.URL("http://server", raw_path=path.encode()))
            assert answer.status_code == 400
            found = answer.json()  # in the words of the protocol there
            assert "The path" in found["error" if path.startswith("/v2/") else "detail"]
            if not path.startswith("/v2/"):
                assert found["type"] == "urn:modelyard:problem:bad-path"
                assert found["instance"] == answer.headers["x-request-id"]


def test_no_route_answers_at_a_path_with_a_final_newline(server: Server):
    """Starlette's `$` matches before one."""
    for path in ("/metrics%0a", "/health%0A", "/predict%0a"):
        for method in ("GET", "POST"):
            raw = httpx.URL("http://server", raw_path=path.encode())
            assert server.ask(method, raw, json=ROW).status_code == 400


def test_names_that_have_to_be_encoded_are_found(make_server: MakeServer):
    server = make_server()
    server.serve(1)
    answer = server.ask("GET", f"/v2/models/{NAME[:1]}%{ord(NAME[1]):02x}{NAME[2:]}")
    assert answer.status_code == 200
    assert answer.json()["name"] == NAME
    for name in ("fraud%20detector", "Gr%C3%B6%C3%9Fe", "100%25"):
        answer = server.ask("GET", f"/v2/models/{name}")
        assert answer.status_code == 404  # read, and another model's
        assert NAME in answer.json()["error"]


def test_headers_are_found_by_name():
    assert check_headers([(b"host", b"a"), (b"accept", b"b")]) == {b"host": b"a", b"accept": b"b"}


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "inference-header-content-length",
        "origin",
        "transfer-encoding",
    ],
)
@pytest.mark.parametrize("values", [(b"chunked", b"chunked"), (b"1", b"2")], ids=["same", "other"])
def test_a_header_that_counts_once_may_come_once(name: str, values: tuple[bytes, bytes]):
    with pytest.raises(Problem) as refusal:
        check_headers([(name.encode(), value) for value in values])
    assert refusal.value.status == 400
    assert name in refusal.value.detail.lower()


def test_a_header_that_decides_nothing_counts_as_not_sent_when_it_came_twice():
    trace = (b"traceparent", b"00-1")
    headers = check_headers([(b"x-request-id", b"a"), (b"x-request-id", b"a"), trace, trace])
    assert headers == {}


def test_a_list_may_come_in_parts():
    parts = [(b"accept", b"text/html"), (b"accept", b"application/json")]
    assert check_headers(parts) == {b"accept": b"text/html, application/json"}
    assert check_headers([(b"x-own", b"1"), (b"x-own", b"2")])[b"x-own"] == b"2"


def test_names_that_differ_are_different_headers():
    """No gateway interface here turns `_` into `-`."""
    headers = check_headers([(b"content_type", b"a"), (b"content-type", b"b")])
    assert headers[b"content-type"] == b"b"


def test_too_many_headers_a_long_length_and_transfer_codings_are_refused():
    for pairs, status in (
        ([(b"x-%d" % n, b"") for n in range(MAX_HEADERS + 1)], 431),
        ([(b"content-length", b"0" * 5000)], 400),
        ([(b"transfer-encoding", b"gzip, chunked")], 400),
        ([(b"transfer-encoding", b"identity")], 400),
    ):
        with pytest.raises(Problem) as refusal:
            check_headers(pairs)
        assert refusal.value.status == status


def test_the_server_refuses_two_of_them_on_every_route(server: Server):
    headers = [("authorization", "Bearer a"), ("Authorization", "Bearer sesame")]
    for path in ("/predict", "/health", "/admin/reload"):
        answer = server.ask("POST", path, json=ROW, headers=headers)
        assert answer.status_code == 400
        assert "Authorization" in answer.json()["detail"]


def test_the_id_is_one_sane_one_or_the_servers_own(server: Server):
    mad = ([], ["a b"], ["a", "a"], ["a", "b"], ["a, b"], ["x" * 129], ["ä"], [""], ['"a"'])
    for path in ("/predict", "/livez", "/nowhere", "/%00"):
        for ids in mad:
            headers = [(b"x-request-id", value.encode("latin-1")) for value in ids]
            method = "POST" if path == "/predict" else "GET"
            url = httpx.URL("http://server", raw_path=path.encode())
            answer = server.ask(method, url, headers=headers, json=ROW)
            [own] = answer.headers.get_list("x-request-id")
            assert own not in ids
            assert own.replace("-", "").isalnum()
