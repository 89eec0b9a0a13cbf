"""Train, predict, train again, come back after a restart: the README's main job."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from support.later_checkout import LaterCheckout, gone_on
from support.replicas import KILL, ready_replicas
from support.stack_driver import (
    COMPOSE_TIMEOUT_S,
    FIGURES,
    ROOT,
    RUNNING,
    SMOKE,
    Stack,
    run,
    wait_for,
)
from support.traffic import Traffic


def test_training_fills_an_empty_registry_and_the_api_answers_by_itself(stack: Stack) -> None:
    if stack.version():
        pytest.fail("this test needs an empty registry: run the whole folder")
    started = {service: stack.containers(service)[0]["State"]["StartedAt"] for service in RUNNING}
    begin = time.monotonic()
    stack.train()
    trained = time.monotonic()
    wait_for("a prediction", lambda: stack.predict().status_code == 200)
    FIGURES.append(
        f"the reference run, with its jobs: {trained - begin:.0f} s; "
        f"the first prediction {time.monotonic() - trained:.1f} s later"
    )
    answer = stack.predict()
    assert list(answer.json()) == ["prediction", "model"]
    (probability,) = answer.json()["prediction"]
    assert 0 < probability < 1
    assert answer.json()["model"]["name"] == "fraud-detector"
    assert answer.headers["x-model-version"] == "1"
    assert stack.api.get("/health").json() == {"status": "healthy"}
    assert started == {
        service: stack.containers(service)[0]["State"]["StartedAt"] for service in RUNNING
    }


def test_the_run_is_in_mlflow_with_its_epochs_and_its_origin(trained: Stack) -> None:
    alias = trained.mlflow.get(
        "/api/2.0/mlflow/registered-models/alias",
        params={"name": "fraud-detector", "alias": "champion"},
    ).json()["model_version"]
    run_id = alias["run_id"]
    run = trained.mlflow.get("/api/2.0/mlflow/runs/get", params={"run_id": run_id}).json()["run"]
    text = json.dumps(run["data"])
    assert trained.environment()["GIT_COMMIT"] in text
    assert "modelyard/training:test" in text
    history = trained.mlflow.get(
        "/api/2.0/mlflow/metrics/get-history",
        params={"run_id": run_id, "metric_key": "validation_loss"},
    ).json()
    assert len(history["metrics"]) > 1


def test_make_train_records_the_image_with_its_digest(trained: Stack) -> None:
    arguments = "--config configs/train-smoke.yaml --set registered_model=by-make --promote never"
    done = run(
        "make", "train", f"ARGS={arguments}",
        cwd=ROOT, env=trained.environment(), timeout_s=COMPOSE_TIMEOUT_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    version = trained.mlflow.get(
        "/api/2.0/mlflow/model-versions/get", params={"name": "by-make", "version": "1"}
    ).json()["model_version"]
    found = trained.mlflow.get("/api/2.0/mlflow/runs/get", params={"run_id": version["run_id"]})
    tags = {tag["key"]: tag["value"] for tag in found.json()["run"]["data"]["tags"]}
    image = trained.environment()["TRAINING_CPU_IMAGE"]
    digest = run("docker", "image", "inspect", "--format", "{{.Id}}", image).stdout.strip()
    assert tags["image"] == f"{image}@{digest}"


ENDS = {
    "Ctrl-C in its terminal": lambda process_id: os.killpg(process_id, signal.SIGINT),
    "kill": lambda process_id: os.kill(process_id, signal.SIGTERM),
}


@pytest.fixture(scope="module")
def later(trained: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaterCheckout]:
    with gone_on(trained, tmp_path_factory.mktemp("later") / "checkout") as checkout:
        yield checkout


def test_a_version_of_an_older_commit_is_reproduced_by_an_image_of_today(
    later: LaterCheckout,
) -> None:
    begin = time.monotonic()
    done = later.reproduce()
    FIGURES.append(f"make reproduce of a quick run: {time.monotonic() - begin:.0f} s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"commit {later.first[:12]}, handed over" in done.stderr
    assert f"commit {later.first[:12]}, whose src/ is tree" in done.stdout
    assert "identical model.onnx, sha256" in done.stdout
    assert later.stack.containers("training") == []
    assert later.changed_files() == ""


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_reproduction_that_is_ended_leaves_nothing(
    later: LaterCheckout, end: Callable[[int], None]
) -> None:
    assert later.end_reproduction("training  against", end) != 0
    assert later.stack.containers("training") == []


def test_the_data_came_out_of_the_store(trained: Stack) -> None:
    """The dataset service has a cache of its own, so that training has to pull."""
    code = (
        "import boto3\n"
        "for item in boto3.client('s3').list_objects_v2(Bucket='dvc')['Contents']:\n"
        "    print(item['Key'])\n"
    )
    keys = trained.compose("run", "--rm", "--no-deps", "-T", "buckets", "python", "-c", code).stdout
    assert "files/md5/" in keys


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"amount": "500", "merchant_category": "electronics", "hour": 23}', "amount"),
        ('{"amount": 500, "merchant_category": "electronics"}', "hour"),
        ('{"amount": 500, "merchant_category": "electronics", "hour": 23, "x": 1}', "x"),
        ('{"amount": NaN, "merchant_category": "electronics", "hour": 23}', "amount"),
        ('{"amount": 500, "merchant_category": "electronics", "hour": 3.5}', "hour"),
    ],
    ids=["wrong type", "missing", "extra", "NaN", "fraction"],
)
def test_bad_input_is_refused_and_the_field_is_named(trained: Stack, body: str, field: str) -> None:
    answer = trained.api.post(
        "/predict", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert field in answer.text


def test_a_second_version_takes_over_without_a_failed_request(trained: Stack) -> None:
    old = int(trained.version())
    with traffic_to(trained) as traffic:
        trained.train(*SMOKE, options=("--no-deps",))  # its data is in the store
        wait_for("the new version", lambda: trained.version() == str(old + 1))
    FIGURES.append(f"{len(traffic.versions)} predictions during a second training, none failed")
    assert traffic.failures == []
    assert set(traffic.versions) == {str(old), str(old + 1)}
    assert traffic.versions.count(str(old)) > 10


def test_a_killed_replica_is_not_noticed(trained: Stack) -> None:
    trained.compose("up", "-d", "--wait", "--no-recreate", "--scale", "serving=2")
    wait_for("two ready replicas", lambda: ready_replicas(trained) == 2)
    with traffic_to(trained) as traffic:
        time.sleep(1)
        trained.compose("exec", "-T", "--index", "1", "serving", "sh", "-c", KILL)
        time.sleep(3)
        wait_for("the replica's return", lambda: ready_replicas(trained) == 2)
    trained.compose("up", "-d", "--wait", "--no-recreate", "--scale", "serving=1")
    assert traffic.failures == []
    assert len(traffic.versions) > 50


def test_a_restart_without_a_registry_serves_the_last_good_version(trained: Stack) -> None:
    version = trained.version()
    with trained.stopped("mlflow", "db", "storage"):
        assert trained.predict().status_code == 200
        trained.compose("exec", "-T", "serving", "sh", "-c", KILL)
        wait_for("the server's return", lambda: trained.version() == version)
    wait_for("the registry's return", lambda: trained.mlflow.get("/health").status_code == 200)


def test_down_and_up_keep_everything(trained: Stack) -> None:
    version = trained.version()
    trained.compose("--profile", "train", "down")
    assert trained.containers() == []
    FIGURES.append(f"up --wait on full volumes: {trained.up():.1f} s")
    wait_for("the model", lambda: trained.version() == version)
    location = trained.mlflow.get(
        "/api/2.0/mlflow/model-versions/get-download-uri",
        params={"name": "fraud-detector", "version": version},
    )
    assert location.status_code == 200
    found = trained.mlflow.get(
        "/api/2.0/mlflow/model-versions/search", params={"filter": "name='fraud-detector'"}
    ).json()
    assert len(found["model_versions"]) == int(version)
    # with the cache gone the model has to come from the store
    trained.compose("rm", "--stop", "--force", "serving")
    trained.compose("run", "--rm", "--no-deps", "-T", "serving", "sh", "-c", EMPTY_CACHE)
    trained.compose("up", "-d", "--wait")
    wait_for("the model, fetched again", lambda: trained.version() == version)


EMPTY_CACHE = "rm -rf /var/cache/modelyard/* && ls -A /var/cache/modelyard"


def traffic_to(stack: Stack) -> Traffic:
    """The README's request, fifty times a second."""
    return Traffic(f"http://127.0.0.1:{stack.gateway_port}/predict")
