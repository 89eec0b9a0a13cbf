"""Versions of any MLflow flavor, from a real registry, each in a process of its own."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from mlflow.tracking import MlflowClient
from sklearn.linear_model import LogisticRegression

from support.models.flavors import CASES, frame, log_sklearn, pipeline
from support.models.model import register_toy
from support.models.toy import ROW
from support.serving_support import ServingProcess, until


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A registered model of this test's own."""
    # the end of a long name: it holds the parameter
    return f"flavor-{request.node.name[-50:]}".translate(str.maketrans("[] @", "----"))


def children_of(server: ServingProcess) -> list[int]:
    """The processes that run its models."""
    return [pid for pid, parent in _workers().items() if parent == server.process.pid]


def _workers() -> dict[int, int]:
    """Every process that runs a model, with its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z" and b"scoring.child.worker" in (stat.parent / "cmdline").read_bytes():
                found[int(stat.parent.name)] = int(parent)
    return found


@pytest.mark.parametrize("what", CASES)
def test_every_flavor_answers_exactly_what_the_model_answers(
    mlflow_url: str, tmp_path: Path, name: str, what: str
):
    case = CASES[what]()
    version = case.register(mlflow_url, name)
    with ServingProcess(tmp_path / "server", mlflow_url, f"models:/{name}/latest") as server:
        model = server.wait_for_version(version)
        assert model["contract"]["output"]["kind"] == case.kind
        assert model["contract_source"] == "MLflow signature"
        assert "in a process of its own" in model["runner"]
        rows = case.asked.to_dict("records")
        answered = []
        for start in range(0, len(rows), 500):
            answer = server.http.post("/predict", json=rows[start : start + 500])
            assert answer.status_code == 200, answer.text
            answered += answer.json()["prediction"]
        np.testing.assert_allclose(answered, case.expected, rtol=1e-6 if "torch" in what else 0)
        for row, expected in list(zip(rows, case.expected, strict=True))[:20]:
            one = server.http.post("/predict", json=row).json()["prediction"][0]
            np.testing.assert_allclose(one, expected, rtol=1e-6)
        assert server.http.post("/predict", json=rows[0] | {"amount": "1"}).status_code == 422
        assert server.stop() == 0


@pytest.mark.parametrize("form", ["2", "latest", "@champion", "Staging"])
def test_every_form_of_address_is_served_and_a_stopped_server_ends_its_children(
    mlflow_url: str, tmp_path: Path, name: str, form: str
):
    model = pipeline(LogisticRegression())
    for _ in range(2):
        log_sklearn(mlflow_url, name, model, frame(3))
    client = MlflowClient(mlflow_url)
    client.set_registered_model_alias(name, "champion", "2")
    if form == "Staging":
        client.transition_model_version_stage(name, "2", "Staging")
    uri = f"models:/{name}{form}" if form.startswith("@") else f"models:/{name}/{form}"
    with ServingProcess(tmp_path / "server", mlflow_url, uri) as server:
        assert server.wait_for_version("2")["uri"] == uri
        (child,) = children_of(server)
        assert server.stop() == 0
        until(lambda: child not in _workers(), "the child to end")


def test_from_onnx_to_a_forest_and_back_the_child_comes_and_goes(
    mlflow_url: str, tmp_path: Path, name: str
):
    """The contract of both is the toy model's, as a schema change is none of this test's."""
    register_toy(mlflow_url, name, 1, alias="champion")
    client = MlflowClient(mlflow_url)
    settings = {"SERVING_ALLOW_SCHEMA_CHANGE": "true"}
    uri = f"models:/{name}@champion"
    with ServingProcess(tmp_path / "server", mlflow_url, uri, **settings) as server:
        server.wait_for_version("1")
        assert children_of(server) == []
        version = log_sklearn(mlflow_url, name, pipeline(LogisticRegression()), frame(3))
        client.set_registered_model_alias(name, "champion", version)
        server.wait_for_version(version)
        (child,) = children_of(server)
        row = frame(1).to_dict("records")[0]
        assert server.http.post("/predict", json=row).status_code == 200
        client.set_registered_model_alias(name, "champion", "1")
        server.wait_for_version("1")
        assert server.http.post("/predict", json=ROW).json()["prediction"] == [1012.5]
        until(lambda: child not in _workers(), "the child to end")


def test_a_killed_server_leaves_no_child_and_its_cache_serves_without_the_registry(
    mlflow_url: str, tmp_path: Path, name: str
):
    version = log_sklearn(mlflow_url, name, pipeline(LogisticRegression()), frame(3))
    uri, row = f"models:/{name}/latest", frame(1).to_dict("records")[0]
    with ServingProcess(tmp_path / "server", mlflow_url, uri) as server:
        server.wait_for_version(version)
        (child,) = children_of(server)
        before = server.http.post("/predict", json=row).json()
        os.kill(server.process.pid, signal.SIGKILL)
        until(lambda: child not in _workers(), "the child to end")
        server.process.wait()
    with ServingProcess(tmp_path / "server", mlflow_url, uri) as server:
        until(lambda: server.http.get("/health").status_code == 200, "the remembered version")
        assert server.http.post("/predict", json=row).json() == before
        assert server.stop() == 0
