"""No version replaces another one before it has answered, and one that fails afterwards is told."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import cloudpickle
import mlflow
import pandas as pd
from mlflow.tracking import MlflowClient

from support.models import wild
from support.models.flavors import log
from support.registry_commands import commands_for
from support.serving_support import ServingProcess, until

for module in (wild, sys.modules[__name__]):  # the server's processes have neither
    cloudpickle.register_pickle_by_value(module)

ROW = {"a": 0.5, "b": 2.0, "shop": "north"}
FRAME = wild.SHOPS.assign(a=wild.X["a"].abs(), b=wild.X["b"].abs())


def register(url: str, name: str, save: Any, folder: Path) -> str:
    """Register what `save` writes, by hand, as the next version; its number."""
    save(folder)

    def write() -> None:
        mlflow.log_artifacts(str(folder), "model")
        run = mlflow.active_run()
        client = MlflowClient(url)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        client.create_model_version(name, f"{run.info.artifact_uri}/model", run.info.run_id)

    return log(url, name, write)


def only_its_example(frame: pd.DataFrame) -> Any:
    """Answers the row that it was logged with, and fails on every other one."""
    if (frame["a"] != 7.0).any():
        raise ValueError("secret 4711")
    return frame["b"]


def test_the_old_version_answers_until_another_one_has(mlflow_url: str, tmp_path: Path):
    name = f"untried-{uuid4().hex[:8]}"
    client = MlflowClient(mlflow_url)
    example = FRAME.assign(a=7.0).head(1)
    saves = {
        "good": wild.answering(lambda x: x["a"] + x["b"], FRAME),
        "columns": wild.answering(lambda x: x[["a", "b"]], FRAME),
        "picky": wild.answering(wild.pickiest, FRAME),
        "late": wild.answering(only_its_example, FRAME, example),
    }
    for number, (what, save) in enumerate(saves.items(), 1):
        assert register(mlflow_url, name, save, tmp_path / what) == str(number)
    client.set_registered_model_alias(name, "champion", "1")
    uri = f"models:/{name}@champion"
    with ServingProcess(tmp_path / "server", mlflow_url, uri) as server:
        model = server.wait_for_version("1")
        assert (model["example_tried"], model["answers"]) == (False, 0)
        assert model["trial_row"] == "a row made from its signature"

        for version, words in (("2", "shape [1, 2]"), ("3", "input_example")):
            client.set_registered_model_alias(name, "champion", version)

            def refused(version: str = version) -> dict[str, Any] | None:
                model = server.model()
                follower = model["follower"]
                right = (follower["wanted_version"], follower["state"]) == (version, "refused")
                return model if right else None

            model = until(refused, f"version {version} to be refused")
            assert (model["version"], model["stale"]) == ("1", True)
            assert words in model["last_error"]
            assert server.http.post("/predict", json=ROW).json()["prediction"] == [2.5]
        status = commands_for(mlflow_url, name)
        said = status("status", SERVING_URL=str(server.http.base_url).rstrip("/")).stdout
        assert "version 1 since" in said
        assert "not 3 (refused:" in said

        client.set_registered_model_alias(name, "champion", "4")
        assert server.wait_for_version("4")["example_tried"] is True
        assert server.http.get("/health").json() == {"status": "healthy"}
        for _ in range(3):
            answer = server.http.post("/predict", json=ROW)
            assert (answer.status_code, "4711" in answer.text) == (500, False)
        health = server.http.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "failing")
        assert "modelyard_failing 1.0" in server.http.get("/metrics").text
        said = status("status", SERVING_URL=str(server.http.base_url).rstrip("/")).stdout
        assert "failing: Version 4 has failed on all 3 requests" in " ".join(said.split())
        client.set_registered_model_alias(name, "champion", "1")
        server.wait_for_version("1")
        assert server.http.get("/health").json() == {"status": "healthy"}
        assert server.stop() == 0
