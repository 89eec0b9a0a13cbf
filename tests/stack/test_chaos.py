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
from support.soak import SOAK, FaultRow, size
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
SILENT_S = size(5, 60)


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


def follows(stack: Stack) -> bool:
    """Whether serving hears from the registry."""
    return not stack.api.get("/model").json()["stale"]


SILENT = "db, silent"
WELL: dict[str, Callable[[Stack], bool]] = {
    "serving": lambda stack: ready_replicas(stack) == REPLICAS,
    "gateway": predicts,
    "traffic": asked,
    "registry-door": follows,
    "mlflow": written,
    "db": written,
    "storage": written,
    SILENT: written,
}


def agree(stack: Stack) -> bool:
    """Whether all replicas serve the version of the alias."""
    version = stack.mlflow.get(PROBE, params={"name": NAME, "alias": "champion"}).json()
    wanted = version["model_version"]["version"]
    return {served_by(name) for name in replica_names(stack)} == {wanted} == {served(stack)}


def break_once(stack: Stack, fault: str, turn: int) -> float:
    """One turn of a fault; the moment from which on it is over."""
    if fault != SILENT:
        begin = time.monotonic()
        kill(stack, fault, turn)
        return begin
    (name,) = (c["Name"].removeprefix("/") for c in stack.containers("db"))
    with paused(name):
        time.sleep(SILENT_S)
    return time.monotonic()


def test_every_service_is_broken_at_work_and_nothing_that_was_acknowledged_is_lost(
    working: tuple[Stack, list[str]], tell: Callable[[FaultRow], None]
) -> None:
    stack, versions = working
    recoveries: dict[str, list[float]] = {}
    counts: dict[str, tuple[int, int, int]] = {}
    with Work(stack, versions) as work:
        wait_for("work", lambda: work.promotions and work.splits)
        for fault, is_well in WELL.items():
            before = work.counts()
            recoveries[fault] = []
            for turn in range(1 if fault == SILENT else size(1, 20)):
                begin = break_once(stack, fault, turn)
                wait_for(f"{fault} to be well", lambda ask=is_well: ask(stack))
                recoveries[fault].append(time.monotonic() - begin)
                time.sleep(size(0, 1))
            wait_for("predictions", lambda: predicts(stack))
            counts[fault] = tuple(b - a for a, b in zip(before, work.counts(), strict=True))
    wait_for("the replicas to agree", lambda: agree(stack))
    lost = work.lost()
    for fault, (writes, answered, failed) in counts.items():
        what = f"Postgres silent for {SILENT_S} s" if fault == SILENT else f"kill -9 of {fault}"
        tell(
            FaultRow(
                what, len(recoveries[fault]), len(lost),
                f"{writes} acknowledged writes, {answered} predictions",
                recoveries[fault], f"{failed} predictions failed meanwhile",
            )
        )  # fmt: skip
    assert lost == []
    failed = {fault: failed for fault, (_, _, failed) in counts.items() if failed}
    failed.pop("gateway", None)  # which has no second
    # an answer that a server had begun to send when it died is broken off
    assert failed.pop("serving", 0) <= len(recoveries["serving"]), work.traffic.failures[:10]
    assert not failed, work.traffic.failures[:10]


@pytest.mark.skipif(not SOAK, reason="tests/integration/test_child_faults.py is its small form")
def test_the_process_of_a_model_is_killed_and_only_what_it_worked_on_fails(
    working: tuple[Stack, list[str]], tell: Callable[[FaultRow], None]
) -> None:
    """Python code runs in a process of its own; a request that it ended with is answered 502.

    Those that wait for the next one are answered by it, or 504 where that takes too long.
    """
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
    wrong = [
        fault for fault in asked_for.failures if not fault.startswith(("502 ", "503 ", "504 "))
    ]
    tell(
        FaultRow(
            "kill -9 of a model's process", turns, len(wrong),
            f"{len(asked_for.answered)} predictions", recoveries,
            f"{len(asked_for.failures)} that met it, or waited for the next, got 502 to 504",
        )
    )  # fmt: skip
    assert wrong == []
    assert len(asked_for.failures) < len(asked_for.answered)


def quick_row(index: int) -> Row:
    """A row that the slow version answers at once."""
    return {"amount": index % SLOW_FROM}
