"""The serving process against a real MLflow server: it follows, survives, and cannot be fooled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
from mlflow.models import infer_signature
from mlflow.tracking import MlflowClient
from sklearn.linear_model import LogisticRegression

from support.models.model import register_toy
from support.models.toy import CONTRACT, ROW, contract_with, save_toy_graph
from support.serving_support import Relay, ServingProcess, until

Register = Callable[..., str]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A registered model of this test's own."""
    return f"served-{request.node.name}"[:70].replace("[", "-").rstrip("]")


@pytest.fixture
def versions(mlflow_url: str, name: str) -> Register:
    """Registers a version and lets the alias champion point to it."""
    return partial(register_toy, mlflow_url, name, alias="champion")


@pytest.fixture
def relay(mlflow_url: str) -> Iterator[Relay]:
    made = Relay(mlflow_url)
    yield made
    made.close()


def predict(server: ServingProcess, **changes) -> httpx.Response:
    return server.http.post("/predict", json=ROW | changes)


def test_from_no_model_to_a_promotion_to_a_rollback(
    mlflow_url: str, tmp_path: Path, name: str, versions: Register
):
    with ServingProcess(tmp_path / "server", mlflow_url, f"models:/{name}@champion") as server:
        until(lambda: "No model is promoted" in server.http.get("/health").text, "the reason")
        assert server.http.get("/health").status_code == 503
        assert predict(server).status_code == 503
        versions(1)
        model = server.wait_for_version("1")
        assert server.http.get("/health").json() == {"status": "healthy"}
        assert predict(server, amount=500).json() == {
            "prediction": [1500.0],
            "model": {"name": name, "version": "1"},
        }
        assert model["metrics"] == {"auc": 0.51}
        assert model["commit"] == "c0ffee"
        assert model["data_version"] == "d41d8cd9"
        assert model["manifest"] == "verified"
        assert model["contract"]["description"] == CONTRACT["description"]
        assert model["run_id"]
        versions(2)
        assert server.wait_for_version("2")["metrics"] == {"auc": 0.52}
        MlflowClient(mlflow_url).set_registered_model_alias(name, "champion", "1")
        server.wait_for_version("1")
        assert predict(server).headers["x-model-version"] == "1"
        served = [
            line["message"] for line in server.log() if "served from now on" in line["message"]
        ]
        assert [text.split("version ")[1][0] for text in served] == ["1", "2", "1"]
        assert server.stop() == 0


def test_a_swap_under_load_fails_and_tears_no_answer(
    mlflow_url: str, tmp_path: Path, name: str, versions: Register
):
    versions(1)
    done = threading.Event()

    def ask(server: ServingProcess) -> list[tuple[int, str, float]]:
        seen = []
        with httpx.Client(base_url=server.http.base_url, timeout=30) as client:
            while not done.is_set():
                answer = client.post("/predict", json=ROW)
                body = answer.json()
                version = answer.headers["x-model-version"]
                assert body["model"]["version"] == version
                seen.append((answer.status_code, version, body["prediction"][0]))
        return seen

    with (
        ServingProcess(tmp_path / "server", mlflow_url, f"models:/{name}@champion") as server,
        ThreadPoolExecutor(4) as clients,
    ):
        server.wait_for_version("1")
        asking = [clients.submit(ask, server) for _ in range(4)]
        try:
            for number in (2, 3):
                versions(number)
                server.wait_for_version(str(number))
        finally:
            done.set()
        answers = [answer for job in asking for answer in job.result()]
    assert {status for status, _, _ in answers} == {200}
    assert {version for _, version, _ in answers} == {"1", "2", "3"}
    assert all(value == 1000 * int(version) + 12.5 for _, version, value in answers)


def test_the_registry_may_go_away_and_the_server_may_even_start_without_it(
    tmp_path: Path, name: str, versions: Register, relay: Relay
):
    versions(1)
    folder, uri = tmp_path / "server", f"models:/{name}@champion"
    with ServingProcess(folder, relay.url, uri) as server:
        server.wait_for_version("1")
        relay.cut()
        until(lambda: server.model()["stale"], "stale")
        assert "does not answer" in server.model()["last_error"]
        assert predict(server).status_code == 200
        assert "modelyard_stale 1.0" in server.http.get("/metrics").text
        assert server.stop() == 0
    with ServingProcess(folder, relay.url, uri) as server:
        assert predict(server).json()["prediction"] == [1012.5]
        until(lambda: server.model()["last_error"], "the first look at the registry")
        assert server.model()["stale"] is True
        assert server.http.get("/health").status_code == 200
        versions(2)
        relay.mend()
        server.wait_for_version("2")
    relay.cut()
    with ServingProcess(tmp_path / "empty", relay.url, uri) as server:
        until(lambda: "does not answer" in server.http.get("/health").text, "the reason")
        relay.mend()
        server.wait_for_version("2")


def test_a_file_changed_in_the_store_is_refused_and_the_old_version_stays(
    mlflow_url: str, tmp_path: Path, name: str, versions: Register
):
    versions(1)
    with ServingProcess(tmp_path / "server", mlflow_url, f"models:/{name}@champion") as server:
        server.wait_for_version("1")
        version = versions(2, alias="")
        client = MlflowClient(mlflow_url)
        uri = client.get_model_version_download_uri(name, version)
        save_toy_graph(tmp_path / "evil.onnx", 666)
        path = uri.split(":", 1)[1].strip("/")
        httpx.put(
            f"{mlflow_url}/api/2.0/mlflow-artifacts/artifacts/{path}/model.onnx",
            content=(tmp_path / "evil.onnx").read_bytes(),
        ).raise_for_status()
        client.set_registered_model_alias(name, "champion", version)
        refused = until(lambda: server.model()["last_error"], "the refusal")
        assert "model.onnx was changed after registration" in refused
        assert predict(server).headers["x-model-version"] == "1"
        answer = server.reload()
        assert answer.status_code == 409
        assert "model.onnx was changed" in answer.json()["detail"]
        assert 'loads_total{result="refused"}' in server.http.get("/metrics").text
        versions(3)
        server.wait_for_version("3")


def test_a_version_that_would_break_callers_is_refused(
    mlflow_url: str, tmp_path: Path, name: str, versions: Register
):
    versions(1)
    features = [f for f in CONTRACT["features"] if f["name"] != "note"]
    example = {key: value for key, value in ROW.items() if key != "note"}
    with ServingProcess(tmp_path / "server", mlflow_url, f"models:/{name}@champion") as server:
        server.wait_for_version("1")
        versions(2, contract=contract_with(features=features, example=example))
        refused = until(lambda: server.model()["last_error"], "the refusal")
        assert "note is gone" in refused
        assert predict(server).status_code == 200


@pytest.mark.parametrize("form", ["2", "latest", "@champion", "Staging"])
def test_every_form_of_address_is_served(
    mlflow_url: str, tmp_path: Path, name: str, versions: Register, form: str
):
    versions(1)
    versions(2)
    if form == "Staging":
        MlflowClient(mlflow_url).transition_model_version_stage(name, "2", "Staging")
    uri = f"models:/{name}{form}" if form.startswith("@") else f"models:/{name}/{form}"
    with ServingProcess(tmp_path / "server", mlflow_url, uri) as server:
        assert server.wait_for_version("2")["uri"] == uri


def test_fifty_reloads_at_once_make_one_load(
    mlflow_url: str, tmp_path: Path, name: str, versions: Register
):
    versions(1)
    settings = {"SERVING_POLL_INTERVAL_S": "600"}
    uri = f"models:/{name}@champion"
    with ServingProcess(tmp_path / "server", mlflow_url, uri, **settings) as server:
        server.wait_for_version("1")
        versions(2)
        with ThreadPoolExecutor(50) as clients:
            answers = [job.result() for job in [clients.submit(server.reload) for _ in range(50)]]
        assert {(a.status_code, a.json()["version"]) for a in answers} == {(200, "2")}
        assert 'loads_total{result="loaded"} 2.0' in server.http.get("/metrics").text


def test_a_model_registered_by_mlflow_alone_is_served_by_its_signature(
    mlflow_url: str, tmp_path: Path, name: str
):
    save_toy_graph(tmp_path / "graph.onnx", 1)
    mlflow.set_tracking_uri(mlflow_url)
    mlflow.set_experiment("serving")
    frame = pd.DataFrame([ROW])
    with mlflow.start_run():
        mlflow.onnx.log_model(
            onnx.load(tmp_path / "graph.onnx"),
            name="model",
            registered_model_name=name,
            signature=infer_signature(frame),
            input_example=frame,
            pip_requirements=["onnxruntime"],
        )
    with ServingProcess(tmp_path / "server", mlflow_url, f"models:/{name}/latest") as server:
        model = server.wait_for_version("1")
        assert model["contract_source"] == "MLflow signature"
        assert model["manifest"] == "absent"
        assert model["example_tried"] is True
        assert predict(server).json()["prediction"] == [1012.5]
        problem = predict(server, amount="1").json()
        assert problem["errors"] == [{"loc": ["body", "amount"], "msg": "must be a number"}]


def test_a_model_of_another_flavor_is_refused_with_a_sentence_in_strict_mode(
    mlflow_url: str, tmp_path: Path, name: str
):
    mlflow.set_tracking_uri(mlflow_url)
    mlflow.set_experiment("serving")
    model = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])
    with mlflow.start_run():
        mlflow.sklearn.log_model(
            model, name="model", registered_model_name=name, pip_requirements=["scikit-learn"]
        )
    strict = {"SERVING_MODEL_FORMATS": "onnx"}
    with ServingProcess(tmp_path / "server", mlflow_url, f"models:/{name}/1", **strict) as server:
        until(lambda: '"state":"refused"' in server.http.get("/health").text, "the refusal")
        assert "Only ONNX is served here" in server.http.get("/health").json()["detail"]
        assert "sklearn" in server.http.get("/health").json()["detail"]


def test_a_model_deleted_and_registered_again_is_loaded_again(
    mlflow_url: str, tmp_path: Path, name: str, versions: Register
):
    versions(1)
    with ServingProcess(tmp_path / "server", mlflow_url, f"models:/{name}@champion") as server:
        server.wait_for_version("1")
        MlflowClient(mlflow_url).delete_registered_model(name)
        until(lambda: server.model()["follower"]["state"] == "not found", "the loss")
        assert predict(server).json()["prediction"] == [1012.5]
        assert versions(7) == "1"
        until(lambda: predict(server).json()["prediction"] == [7012.5], "the new version 1")
