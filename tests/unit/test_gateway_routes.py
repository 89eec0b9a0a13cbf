"""The gateway passes on the server's public routes, all of them and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.routing import Mount, Route

from modelyard.serving.protocols import inference, mlflow_scoring, native
from support.compose_files import read
from support.serving_app import build_server

CLOSED = {"/admin/reload", "/metrics", "/v2/repository/models/{model}/load",
          "/v2/repository/models/{model}/unload"}  # fmt: skip
"""What steers or shows the server: inside the stack only."""
PASSED = dict(
    line.rsplit(" ", 1)
    for line in read("configs/gateway/routes.map").splitlines()
    if not line.startswith("#")
)
VALUES = {"model": "fraud%20detector", "version": "12"}


def routes_of(app: FastAPI) -> Iterator[Route | Mount]:
    for route in app.routes:
        router = getattr(route, "original_router", None)
        yield from router.routes if router else [route]


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A path of each public route → its method."""
    app: FastAPI = build_server(tmp_path_factory.mktemp("server")).app._app
    versioned = inference.LABEL.replace("/infer", "/versions/{version}/infer")
    asked = (native.PATH, mlflow_scoring.PATH, inference.LABEL, versioned)
    found = dict.fromkeys(asked, "POST") | {"/docs/assets/swagger-ui.css": "GET"}
    for route in routes_of(app):
        if isinstance(route, Mount):
            assert route.path == "/docs/assets"
        else:
            (found[route.path],) = route.methods - {"HEAD"}
    assert found.keys() > CLOSED
    return {path.format_map(VALUES): method for path, method in found.items() if path not in CLOSED}


def passed(path: str) -> str:
    """The method with which the gateway passes `path` on; empty when it does not."""
    methods = [method for pattern, method in PASSED.items() if re.search(pattern, path)]
    return methods[0] if methods else ""


def test_every_public_route_is_passed_on_with_its_method(public: dict[str, str]):
    assert {path: passed(path) for path in public} == public


def test_nothing_else_is_passed_on(public: dict[str, str]):
    for pattern in PASSED:
        assert any(re.search(pattern, path) for path in public), pattern
        assert pattern.startswith("^/") and pattern.endswith("$")
    for path in CLOSED:
        for closed in (path.format_map(VALUES), path.format_map(VALUES) + "/"):
            assert passed(closed) == ""


def test_the_readme_lists_what_is_passed_on():
    table = read("README.md").split("## The API")[1].split("\n\n")[1]
    fixed = {path for pattern in PASSED if re.search(r"^\^/\w+\$$", path := pattern)}
    assert len(fixed) >= 8
    for pattern in fixed:
        assert f"{pattern[1:-1]}`" in table, pattern
