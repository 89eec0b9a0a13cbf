"""A page of another origin in a real browser: it reads answers where the setting names it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from selenium.webdriver import Chrome

from support.browser import chromium
from support.models.model import register_toy
from support.models.toy import ROW
from support.serving_support import ServingProcess

NAME = "asked-by-pages"
FETCH = """
const [url, options, done] = arguments;
fetch(url, options).then(
  async answer => done({
    status: answer.status, text: await answer.text(), id: answer.headers.get("X-Request-Id"),
    version: answer.headers.get("X-Model-Version")}),
  error => done({error: String(error)}));
"""


class Page(BaseHTTPRequestHandler):
    """An empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def pages() -> Iterator[list[str]]:
    """Two origins."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Page) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="module")
def url(
    mlflow_url: str, pages: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    register_toy(mlflow_url, NAME, 1, alias="champion")
    folder, uri = tmp_path_factory.mktemp("pages"), f"models:/{NAME}@champion"
    with ServingProcess(folder, mlflow_url, uri, SERVING_CORS_ORIGINS=pages[0]) as running:
        running.wait_for_version("1")
        yield f"http://127.0.0.1:{running.port}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser")) as chrome:
        yield chrome


def post(browser: Chrome, url: str, body: Any) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "X-Request-Id": "from-a-page"}
    options = {"method": "POST", "headers": headers, "body": json.dumps(body)}
    return browser.execute_async_script(FETCH, url, options)


def test_a_listed_page_reads_predictions_and_refusals(
    browser: Chrome, url: str, pages: list[str]
) -> None:
    browser.get(pages[0])
    answer = post(browser, f"{url}/predict", ROW)
    assert json.loads(answer["text"])["prediction"] == [1012.5]
    assert (answer["status"], answer["id"], answer["version"]) == (200, "from-a-page", "1")
    refused = post(browser, f"{url}/predict", {})
    assert refused["status"] == 422
    assert json.loads(refused["text"])["errors"]
    assert browser.execute_async_script(FETCH, f"{url}/model", {})["status"] == 200


def test_it_cannot_reach_what_steers_the_server(
    browser: Chrome, url: str, pages: list[str]
) -> None:
    browser.get(pages[0])
    for path in ("/admin/reload", "/metrics"):
        assert "Failed to fetch" in post(browser, url + path, {})["error"]
    assert "error" in browser.execute_async_script(FETCH, f"{url}/metrics", {})


def test_another_page_reads_nothing(browser: Chrome, url: str, pages: list[str]) -> None:
    browser.get(pages[1])
    assert "Failed to fetch" in post(browser, f"{url}/predict", ROW)["error"]
    assert "Failed to fetch" in browser.execute_async_script(FETCH, f"{url}/model", {})["error"]
