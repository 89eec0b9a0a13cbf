"""Every service is killed while everything is at work, and the database is silent for a while.

What was acknowledged is there afterwards, and all parts agree on it. CI has one turn of each; `make
soak` has twenty, and says how long it took until all was well again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from support.models.numbered import (
    CONTRACT,
    NAME,
    SLOW_FROM,
    promote,
    register_numbered,
    register_slow,
    serve_numbered,
    served,
)
from support.replicas import docker, paused, ready_replicas, replica_names, served_by
from support.soak import FaultRow, size
from support.split import COMMAND, traffic
from support.stack_driver import Stack, wait_for
from support.traffic import Row, Traffic, is_numbered
from support.work import Work

REPLICAS = 3
CHALLENGER = f"models:/{NAME}@challenger"
CHILD = """
import os, signal
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        words = open(f"/proc/{pid}/cmdline").read().split("\\0")
    except OSError:
        continue
    if any(word.startswith("modelyard.scoring.child") for word in words):
        os.kill(int(pid), signal.SIGKILL)
"""
PROBE = "/api/2.0/mlflow/registered-models/alias"
# those without which the gateway still has somebody to ask: no request may fail
WITHOUT_LOSS = ("serving", "traffic", "mlflow", "db", "storage")


@pytest.fixture(scope="module")
def working(numbered: Stack) -> Iterator[tuple[Stack, list[str]]]:
    """Three replicas, a challenger, `traffic`, and versions to promote."""
    numbered.compose("up", "-d", "--no-deps", "--no-recreate", "serving", "gateway")
    versions = [register_numbered(numbered) for _ in range(2)]
    promote(numbered, versions[0])
    alias = {"name": NAME, "alias": "challenger", "version": versions[1]}
    numbered.mlflow.post(PROBE, json=alias).raise_for_status()
    numbered.settings["CHALLENGER_MODEL_URI"] = CHALLENGER
    numbered.compose("--profile", "challenger", "up", "-d", "--no-deps", "challenger", "traffic")
    wait_for("ready replicas", lambda: ready_replicas(numbered) == REPLICAS)
    wait_for("traffic", lambda: asked(numbered) and traffic(numbered)["challengers"] == 1)
    yield numbered, versions
    traffic(numbered, "--off")
    numbered.compose("--profile", "challenger", "stop", "challenger", "traffic")


def kill(stack: Stack, service: str, turn: int) -> None:
    """SIGKILL; the container is started again at once, as after a crash of its own."""
    if service == "child":
        docker("exec", replica_names(stack)[turn % REPLICAS], "python", "-c", CHILD)
        return
    containers = sorted(c["Name"].removeprefix("/") for c in stack.containers(service))
    name = containers[turn % len(containers)]
    docker("kill", "--signal", "KILL", name)
    docker("start", name)


def asked(stack: Stack) -> bool:
    """Whether `traffic` answers its command."""
    done = stack.compose("exec", "-T", "traffic", *COMMAND, "--json", check=False)
    return done.returncode == 0


def written(stack: Stack) -> bool:
    """Whether a write, a read and a file come through MLflow, its database and its store."""
    tag = {"name": NAME, "key": "probe", "value": str(time.time())}
    try:
        stack.mlflow.post("/api/2.0/mlflow/registered-models/set-tag", json=tag).raise_for_status()
        listed = stack.mlflow.get("/api/2.0/mlflow-artifacts/artifacts", timeout=5)
    except httpx.HTTPError:
        return False
    return listed.status_code == httpx.codes.OK


def predicts(stack: Stack) -> bool:
    """Whether predictions are answered, by all replicas."""
    try:
        found = [stack.api.post("/predict", json=CONTRACT.example) for _ in range(2 * REPLICAS)]
    except httpx.HTTPError:
        return False
    return all(answer.status_code == httpx.codes.OK for answer in found)


WELL: dict[str, Callable[[Stack], bool]] = {
    "serving": lambda stack: ready_replicas(stack) == REPLICAS,
    "gateway": predicts,
    "traffic": asked,
    "mlflow": written,
    "db": written,
    "storage": written,
}


def agree(stack: Stack) -> bool:
    """Whether all replicas serve the version of the alias."""
    version = stack.mlflow.get(PROBE, params={"name": NAME, "alias": "champion"}).json()
    wanted = version["model_version"]["version"]
    return {served_by(name) for name in replica_names(stack)} == {wanted} == {served(stack)}


def test_every_service_is_killed_at_work_and_nothing_that_was_acknowledged_is_lost(
    working: tuple[Stack, list[str]], tell: Callable[[FaultRow], None]
) -> None:
    stack, versions = working
    turns = size(1, 20)
    recoveries: dict[str, list[float]] = {}
    counts: dict[str, tuple[int, int, int]] = {}
    with Work(stack, versions) as work:
        time.sleep(3)
        for service, is_well in WELL.items():
            before = (work.writes, len(work.traffic.answered), len(work.traffic.failures))
            recoveries[service] = []
            for turn in range(turns):
                begin = time.monotonic()
                kill(stack, service, turn)
                wait_for(f"{service} to be well", lambda ask=is_well: ask(stack))
                recoveries[service].append(time.monotonic() - begin)
                time.sleep(1)
            wait_for("predictions", lambda: predicts(stack))
            after = (work.writes, len(work.traffic.answered), len(work.traffic.failures))
            counts[service] = tuple(b - a for a, b in zip(before, after, strict=True))
        time.sleep(2)
    wait_for("the replicas to agree", lambda: agree(stack))
    lost = work.lost()
    for service, (writes, answered, failed) in counts.items():
        tell(
            FaultRow(
                f"kill -9 of {service}", turns, len(lost),
                f"{writes} acknowledged writes, {answered} predictions",
                recoveries[service], f"{failed} predictions failed meanwhile",
            )
        )  # fmt: skip
    assert lost == []
    assert {service: counts[service][2] for service in WITHOUT_LOSS} == dict.fromkeys(
        WITHOUT_LOSS, 0
    )
    assert work.promotions
    assert work.splits


def test_the_process_of_a_model_is_killed_and_only_what_it_worked_on_fails(
    working: tuple[Stack, list[str]], tell: Callable[[FaultRow], None]
) -> None:
    """Python code runs in a process of its own; a request that it ended with is answered 502."""
    stack, _ = working
    traffic(stack, "--off")
    serve_numbered(stack, register_slow(stack))
    wait_for("the replicas to agree", lambda: agree(stack))
    turns, recoveries = size(1, 20), []
    url = f"http://127.0.0.1:{stack.gateway_port}/predict"
    with Traffic(url, 40, row=quick_row, check=is_numbered) as asked_for:
        for turn in range(turns):
            time.sleep(1)
            begin = time.monotonic()
            kill(stack, "child", turn)
            wait_for("predictions", lambda: predicts(stack))
            recoveries.append(time.monotonic() - begin)
    wrong = [fault for fault in asked_for.failures if not fault.startswith(("502 ", "503 "))]
    tell(
        FaultRow(
            "kill -9 of a model's process", turns, len(wrong),
            f"{len(asked_for.answered)} predictions", recoveries,
            f"{len(asked_for.failures)} that it worked on were answered 502 or 503",
        )
    )  # fmt: skip
    assert wrong == []
    assert len(asked_for.failures) <= 20 * turns


def quick_row(index: int) -> Row:
    """A row that the slow version answers at once."""
    return {"amount": index % SLOW_FROM}


def test_a_database_that_is_silent_costs_no_prediction_and_no_write(
    working: tuple[Stack, list[str]], tell: Callable[[FaultRow], None]
) -> None:
    stack, versions = working
    (name,) = (c["Name"].removeprefix("/") for c in stack.containers("db"))
    seconds = size(5, 60)
    with Work(stack, versions) as work:
        time.sleep(2)
        with paused(name):
            time.sleep(seconds)
        begin = time.monotonic()
        wait_for("a write", lambda: written(stack))
        recovery = time.monotonic() - begin
        time.sleep(2)
    wait_for("the replicas to agree", lambda: agree(stack))
    lost, failures = work.lost(), work.traffic.failures
    tell(
        FaultRow(
            f"Postgres paused for {seconds} s", 1, len(lost) + len(failures),
            f"{work.writes} acknowledged writes, {len(work.traffic.answered)} predictions",
            [recovery], "no prediction failed",
        )
    )  # fmt: skip
    assert lost == []
    assert failures == []
