"""`docker compose up -d --wait` on a fresh clone: every service well, and no model yet."""

from __future__ import annotations

import socket

import httpx
import pytest

from support.stack_driver import RUNNING, Stack, compose_files, wait_for


@pytest.mark.parametrize("service", RUNNING)
def test_every_service_is_healthy(stack: Stack, service: str) -> None:
    (container,) = stack.containers(service)
    assert container["State"]["Health"]["Status"] == "healthy"


def test_without_a_model_health_says_which_command_trains_one(stack: Stack) -> None:
    if stack.version():
        pytest.fail("this test belongs before training: run the whole folder")

    def promoted() -> bool:  # the server has looked at the registry since that came up
        return "No model is promoted" in stack.api.get("/health").json()["detail"]

    wait_for("the server's look at the registry", promoted)
    answer = stack.api.get("/health")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "docker compose --profile train run --rm training" in answer.json()["detail"]
    assert stack.predict().status_code == 503


def test_the_server_lives_without_a_model(stack: Stack) -> None:
    assert stack.api.get("/livez").status_code == 200


def test_mlflow_shows_its_interface(stack: Stack) -> None:
    page = stack.mlflow.get("/")
    assert page.status_code == 200
    assert "text/html" in page.headers["content-type"]


def test_mlflow_refuses_a_foreign_host_name(stack: Stack) -> None:
    answer = stack.mlflow.get("/api/2.0/mlflow/experiments/search", headers={"host": "evil.test"})
    assert answer.status_code == 403


@pytest.mark.parametrize("service", RUNNING)
def test_containers_are_locked_down(stack: Stack, service: str) -> None:
    (container,) = stack.containers(service)
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"] is True
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert host["LogConfig"]["Config"]["max-size"] == "10m"
    script = "id -u; touch /written 2>/dev/null && echo written; true"
    said = stack.compose("exec", "-T", service, "sh", "-c", script).stdout.split()
    assert said[0] != "0"
    assert "written" not in said


def test_only_gateway_and_mlflow_publish_and_only_on_the_loopback(stack: Stack) -> None:
    published = {
        (container["Config"]["Labels"]["com.docker.compose.service"], binding["HostIp"])
        for container in stack.containers()
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert published == {("gateway", "127.0.0.1"), ("mlflow", "127.0.0.1")}


def test_the_stores_inner_services_are_not_on_the_network(stack: Stack) -> None:
    """SeaweedFS' master, volume server and filer ask for no password."""
    code = (
        "import socket\n"
        "for port in (8333, 8888, 9333, 8080):\n"
        "    probe = socket.socket(); probe.settimeout(3)\n"
        "    print(port, probe.connect_ex(('storage', port)) == 0)\n"
    )
    found = stack.python("mlflow", code).splitlines()
    assert found == ["8333 True", "8888 False", "9333 False", "8080 False"]


def test_serving_reaches_neither_database_nor_store(stack: Stack) -> None:
    code = (
        "import socket\n"
        "for host in ('db', 'storage'):\n"
        "    try: print(socket.gethostbyname(host))\n"
        "    except OSError: print('unknown')\n"
    )
    assert stack.python("serving", code).split() == ["unknown", "unknown"]


@pytest.mark.parametrize("rest", ["", "Content-Length: 9\r\n\r\n{"], ids=["headers", "body"])
def test_gateway_ends_a_request_that_never_arrives(stack: Stack, rest: str) -> None:
    with socket.create_connection(("127.0.0.1", stack.gateway_port), timeout=60) as connection:
        connection.sendall(f"POST /predict HTTP/1.1\r\nHost: localhost\r\n{rest}".encode())
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")
    # HAProxy answers broken headers with a page of its own that cannot be replaced
    assert not rest or b"application/problem+json" in answer


def test_gateway_speaks_for_a_server_that_is_gone(stack: Stack) -> None:
    with stack.stopped("serving"):
        answer = stack.api.get("/health")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0
        assert "docker compose up -d --wait" in answer.json()["detail"]
    assert stack.api.get("/livez").status_code == httpx.codes.OK


def test_the_gpu_is_reserved_by_default_and_not_with_the_cpu_overlay(stack: Stack) -> None:
    cpu = stack.environment()
    create = ("--profile", "train", "create", "--no-build", "--force-recreate", "training")
    # no GPU is needed to create the container; the CPU image stands in for the larger one
    gpu = {"COMPOSE_FILE": compose_files(gpu=True), "TRAINING_IMAGE": cpu["TRAINING_CPU_IMAGE"]}
    try:
        stack.compose(*create, **gpu)
        (container,) = stack.containers("training")
        (device,) = container["HostConfig"]["DeviceRequests"]
        assert device["Driver"] == "nvidia"
        assert device["Capabilities"] == [["gpu"]]
        stack.compose(*create)
        (container,) = stack.containers("training")
        assert not container["HostConfig"]["DeviceRequests"]
    finally:
        stack.compose("--profile", "train", "rm", "--force", "--stop", "training", "dataset")
