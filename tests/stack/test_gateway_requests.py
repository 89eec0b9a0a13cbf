"""Raw HTTP through the real gateway: one reading of every path and header, one id in every log."""

from __future__ import annotations

import json
import re

import pytest

from support.raw_http import raw
from support.stack_driver import ADVERSE, Stack, wait_for

BODY = json.dumps(ADVERSE).encode()
JSON = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
START = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
POST = START + JSON + LENGTH + b"\r\n" + BODY
FORGED = "forged - - line"

NOT_PASSED_ON = (
    "/metrics%0a",
    "/metrics/",
    "//metrics",
    "/./metrics",
    "/x/../metrics",
    "/x/%2e%2e/metrics",
    "/%6detrics",
    "/metrics;x",
    "/METRICS",
    "http://x/metrics",
    "http://x//metrics",
    "/admin/reload%00",
    "/admin%2freload",
    "/v2/repository/models/fraud-detector%zz/load",
    "/v2/repository/models/fraud-detector/load",
    "/v2/repository/models/fraud-detector/load/",
    "/v2/models/../repository/models/fraud-detector/load",
    "/v2/models/..%2frepository%2fmodels%2ffraud-detector/load",
    "/predict/",
    "/predict%0a",
    "/pred%69ct",
    "/nowhere",
    "/docs/assets/..%2f..%2fmetrics",
)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_only_listed_paths_are_passed_on(trained: Stack, method: str) -> None:
    for path in NOT_PASSED_ON:
        sent = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
        answer = raw(trained.gateway_port, sent)
        assert answer.status_code in {400, 403, 404}, path
        assert answer.headers["content-type"] == "application/problem+json", path
        assert answer.json()["detail"], path
        assert answer.headers["x-request-id"], path
        assert "x-model-version" not in answer.headers, path  # the gateway's own answer


def test_each_path_takes_its_methods(trained: Stack) -> None:
    for path, takes in (("/predict", "POST"), ("/health", "GET"), ("/v2/models/a%20b", "GET")):
        for method in ("GET", "POST", "PUT", "DELETE", "TRACE", "post", "PROPFIND"):
            sent = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
            answer = raw(trained.gateway_port, sent)
            if method == takes:
                assert answer.status_code not in {403, 405}
                continue
            assert answer.status_code == 405, (method, path)
            assert takes in answer.headers["allow"]
            assert answer.json()["status"] == 405
    head = raw(trained.gateway_port, b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert head.status_code == 200
    assert raw(trained.gateway_port, b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").status_code == 204


def test_names_are_passed_on_as_they_were_encoded(trained: Stack) -> None:
    for name in ("fraud%20detector", "Gr%C3%B6%C3%9Fe", "a%3Ab"):
        answer = trained.api.get(f"/v2/models/{name}")
        assert answer.status_code == 404
        assert "fraud-detector is served here" in answer.json()["error"]
    assert trained.api.get("/v2/models/fraud%2Ddetector").json()["name"] == "fraud-detector"


@pytest.mark.parametrize(
    "ids",
    [
        [],
        [b"own"],
        [FORGED.encode()],
        [b"own", FORGED.encode()],
        [FORGED.encode(), b"own"],
        [b"own", b"own"],
        [b"a,b"],
        [b'"\\x0a'],
        [b"x" * 200],
    ],
    ids=str,
)
def test_a_request_has_one_id_in_the_answer_and_in_every_log(
    trained: Stack, ids: list[bytes]
) -> None:
    sent = b"".join(b"X-Request-Id: %b\r\n" % one for one in ids)
    answer = raw(trained.gateway_port, START + sent + JSON + LENGTH + b"\r\n" + BODY)
    assert answer.status_code == 200, answer.text
    [found] = answer.headers.get_list("x-request-id")
    assert (found == "own") == (ids == [b"own"])
    if found != "own":
        assert re.fullmatch(r"[0-9a-f-]{36}", found)
        logged = f"grep -rch '{found}' /var/log/modelyard | grep -vc '^0$'"
        assert trained.compose("exec", "-T", "serving", "sh", "-c", logged).stdout.strip() == "1"
    other = raw(trained.gateway_port, START + sent + b"Content-Length: 40000000\r\n\r\n")
    assert other.status_code == 413
    [found] = other.headers.get_list("x-request-id")

    def line() -> str:
        lines = trained.compose("logs", "--no-log-prefix", "gateway").stdout.splitlines()
        return next((line for line in reversed(lines) if line.endswith(f" {found}")), "")

    assert "POST /predict" in wait_for("the gateway's line", line)
    assert FORGED not in trained.compose("logs", "gateway").stdout


def test_nothing_that_a_client_chose_breaks_a_line_of_the_log(trained: Stack) -> None:
    sent = (
        b'GET /admin/"' + b"%0a%0d" + FORGED.replace(" ", "%20").encode() + b'" HTTP/1.1\r\n'
        b"Host: forged\r\nUser-Agent: forged\r\nReferer: forged\r\nCookie: a=forged\r\n\r\n"
    )
    found = raw(trained.gateway_port, sent).headers["x-request-id"]

    def lines() -> list[str]:
        said = trained.compose("logs", "--no-log-prefix", "gateway").stdout.splitlines()
        return [line for line in said if found in line]

    [line] = wait_for("the gateway's line", lines)
    assert re.search(r'"GET /admin/#22%0a%0dforged%20-%20-%20line#22 HTTP/1.1"', line), line
    assert line.count("forged") == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (POST.replace(b"Host: x\r\n", b""), 200),
        (POST.replace(b"HTTP/1.1", b"HTTP/1.0"), 200),
        (POST.replace(b"POST /predict", b"POST http://x/predict"), 200),
        (POST.replace(LENGTH, LENGTH + LENGTH), 200),  # one value: the gateway sends it once
        (POST.replace(LENGTH, LENGTH + b"Content_Length: 1\r\nContent_Type: text/csv\r\n"), 200),
        (POST.replace(LENGTH, b"Expect: 100-continue\r\n" + LENGTH), 100),
        (
            START + JSON + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY)
            + BODY + b"\r\n0\r\n\r\n",
            200,
        ),
        (
            POST.replace(b"Host: x", b"Host: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAI\r\n"
                         b"Connection: Upgrade, HTTP2-Settings"),
            200,
        ),
        (POST.replace(LENGTH, LENGTH + b"Content-Length: 1\r\n"), 400),
        (POST.replace(b"Host: x", b"Host: x\r\nHost: y"), 400),
        (POST.replace(JSON, JSON + b"Content-Type: text/csv\r\n"), 400),
        (POST.replace(JSON, JSON + JSON), 400),
        (POST.replace(JSON, JSON + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400),
        (POST.replace(LENGTH, b"Content-Length : 5\r\n"), 400),
        (POST.replace(LENGTH, b"Content-Length: +5\r\n"), 400),
        (POST.replace(b"POST /predict", b"POST  /pre\x01dict"), 400),
        (POST.replace(b"POST /predict", "POST /größe".encode()), 400),
        (POST.replace(b"Host: x", b"Host: x\x00y"), 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
    ids=lambda value: str(value)[-60:],
)  # fmt: skip
def test_what_two_parsers_could_read_differently_has_one_meaning(
    trained: Stack, sent: bytes, status: int
) -> None:
    answer = raw(trained.gateway_port, sent)
    assert answer.status_code == status, answer.text
    if "x-request-id" in answer.headers:  # else HAProxy's parser has refused it, in its own words
        assert status != 400 or "came twice" in answer.json()["detail"]
    assert trained.predict().status_code == 200
