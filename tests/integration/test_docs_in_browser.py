"""`/docs` as people see it: a real browser, without any network but the server's."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from mlflow.tracking import MlflowClient
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from support.browser import chromium
from support.models.model import register_toy
from support.models.toy import ROW, contract_with
from support.serving_support import PATIENCE_S, ServingProcess

NAME = "documented"
PREDICT = "//div[contains(@class,'opblock-post')][.//*[@data-path='/predict']]"


@pytest.fixture(scope="module")
def server(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingProcess]:
    folder = tmp_path_factory.mktemp("documented")
    register_toy(mlflow_url, NAME, 1, alias="champion")
    register_toy(mlflow_url, NAME, 2, contract=contract_with(example=ROW | {"amount": 47.25}))
    uri = f"models:/{NAME}@champion"
    with ServingProcess(folder / "server", mlflow_url, uri) as running:
        running.wait_for_version("1")
        yield running


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser")) as chrome:
        yield chrome


def open_docs(browser: Chrome, server: ServingProcess) -> str:
    """Open `/docs` and the operation of `/predict`; returns the example in its field."""
    browser.get(f"http://127.0.0.1:{server.port}/docs")
    wait = WebDriverWait(browser, PATIENCE_S)
    wait.until(lambda b: b.find_elements(By.XPATH, PREDICT))
    browser.find_element(By.XPATH, f"{PREDICT}//button[contains(@class,'summary-control')]").click()
    found = wait.until(lambda b: b.find_elements(By.XPATH, f"{PREDICT}//textarea"))
    return found[0].get_attribute("value")


def test_the_page_needs_nothing_but_the_server(browser: Chrome, server: ServingProcess):
    open_docs(browser, server)
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    asked = browser.execute_script(script)
    assert any(url.endswith("/openapi.json") for url in asked)
    assert any(url.endswith(".js") for url in asked)
    own = f"http://127.0.0.1:{server.port}/"
    assert [url for url in asked if not url.startswith((own, "data:"))] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_the_page_shows_the_served_models_own_fields(browser: Chrome, server: ServingProcess):
    assert json.loads(open_docs(browser, server)) == ROW
    shown = browser.find_element(By.XPATH, "//body").text
    assert f"{NAME}, version 1" in shown


def test_execute_gives_a_prediction(browser: Chrome, server: ServingProcess):
    open_docs(browser, server)
    browser.find_element(By.XPATH, f"{PREDICT}//button[contains(@class,'execute')]").click()
    row = f"{PREDICT}//table[contains(@class,'live-responses-table')]//tr[@class='response']"
    wait = WebDriverWait(browser, PATIENCE_S)
    answer = wait.until(lambda b: b.find_elements(By.XPATH, row))[0]
    assert answer.find_element(By.XPATH, ".//td[contains(@class,'status')]").text.startswith("200")
    body = answer.find_element(By.XPATH, ".//div[contains(@class,'highlight-code')]").text
    assert "1012.5" in body
    assert '"version": "1"' in body


def test_the_page_follows_the_model(browser: Chrome, server: ServingProcess, mlflow_url: str):
    MlflowClient(mlflow_url).set_registered_model_alias(NAME, "champion", "2")
    server.wait_for_version("2")
    assert json.loads(open_docs(browser, server))["amount"] == 47.25
    assert f"{NAME}, version 2" in browser.find_element(By.XPATH, "//body").text
