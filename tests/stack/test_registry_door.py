"""Where a prediction server stands, it reads the registry and reaches nothing behind its door."""

from __future__ import annotations

import json
from typing import Any

from support.stack_driver import Stack, wait_for

API = "/api/2.0/mlflow"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
ASK = """
import http.client, json, sys
answers = []
for method, path, body in json.loads(sys.argv[1]):
    connection = http.client.HTTPConnection("registry-door", 5000, timeout=20)
    connection.putrequest(method, path, skip_accept_encoding=True)
    data = json.dumps(body).encode()
    connection.putheader("content-length", str(len(data)))
    connection.putheader("content-type", "application/json")
    connection.endheaders(data)
    answer = connection.getresponse()
    answers.append([answer.status, answer.getheader("content-type"), answer.read().decode()[:2000]])
print(json.dumps(answers))
"""
REACH = """
import json, socket, sys
for host, port in json.loads(sys.argv[1]):
    try:
        socket.create_connection((host, port), timeout=3).close()
        print(host, port, "reached")
    except OSError:
        pass
"""
WRITES = [
    ("POST", f"{API}/registered-models/create", {"name": "intruder"}),
    ("POST", f"{API}/registered-models/alias", {"name": "m", "alias": "champion", "version": "1"}),
    ("DELETE", f"{API}/registered-models/alias", {"name": "m", "alias": "champion"}),
    ("POST", f"{API}/model-versions/create", {"name": "m", "source": "x"}),
    ("POST", f"{API}/model-versions/set-tag", {"name": "m", "version": "1", "key": "a"}),
    ("PATCH", f"{API}/registered-models/update", {"name": "m"}),
    ("POST", f"{API}/runs/create", {"experiment_id": "0"}),
    ("PUT", f"{FILES}/1/x/model.onnx", "x"),
    ("DELETE", f"{FILES}/1/x", ""),
    ("POST", f"/ajax-api{API.removeprefix('/api')}/registered-models/create", {"name": "x"}),
    # disguised as a read
    ("GET", f"{FILES}/../../mlflow/experiments/search", ""),
    ("GET", f"{FILES}/%2e%2e/x", ""),
    ("GET", f"{FILES}/a%2f..%2f..%2fb", ""),
    ("GET", f"{API}/runs/ge%74", ""),
    ("HEAD", f"{API}/runs/get", ""),
    ("GET", "/", ""),
    ("GET", "/health", ""),
]


def ask(stack: Stack, *questions: tuple[str, str, Any]) -> list[tuple[int, str, str]]:
    """Status, type and beginning of the answers, asked from a prediction server's container."""
    command = ("exec", "-T", "serving", "python", "-c", ASK, json.dumps(questions))
    return [tuple(answer) for answer in json.loads(stack.compose(*command).stdout)]


def addresses(stack: Stack, service: str) -> list[str]:
    (container,) = stack.containers(service)
    networks = container["NetworkSettings"]["Networks"].values()
    return [network["IPAddress"] for network in networks]


def reached(stack: Stack, places: list[tuple[str, int]], service: str = "serving") -> list[str]:
    command = ("exec", "-T", service, "python", "-c", REACH, json.dumps(places))
    return stack.compose(*command).stdout.splitlines()


def test_what_serving_reads_passes_and_what_writes_is_refused(stack: Stack) -> None:
    reads = [
        ("GET", f"{API}/registered-models/alias?name=nobody&alias=champion", ""),
        ("GET", f"{API}/model-versions/search?max_results=1", ""),
        ("GET", f"{FILES}?path=1", ""),
    ]
    answers = ask(stack, *reads, *WRITES)
    for question, (status, kind, body) in zip(reads, answers, strict=False):
        assert status in (200, 404), (question, body)
        assert "json" in kind
    for question, (status, kind, body) in zip(WRITES, answers[len(reads) :], strict=True):
        assert status == 403, question
        assert kind == "application/problem+json"
        assert question[0] == "HEAD" or "registry door" in json.loads(body)["detail"]
    names = [model["name"] for model in stack.mlflow.get(
        f"{API}/registered-models/search", params={"max_results": 100}
    ).json().get("registered_models", [])]  # fmt: skip
    assert "intruder" not in names


def test_nothing_behind_the_door_is_in_reach_by_name_or_address(stack: Stack) -> None:
    ports = {"mlflow": 5000, "db": 5432, "storage": 8333}
    places = list(ports.items())
    places += [(ip, port) for name, port in ports.items() for ip in addresses(stack, name)]
    assert reached(stack, [("mlflow", 5000), ("storage", 8333)], "mlflow"), "it can be found at all"
    assert reached(stack, places) == []
    assert reached(stack, [("registry-door", 5000), ("gateway", 8000)])


def test_the_door_lives_without_mlflow_and_says_so(stack: Stack) -> None:
    question = ("GET", f"{API}/registered-models/alias?name=a&alias=b", "")
    with stack.stopped("mlflow"):

        def refused() -> bool:
            ((status, _, body),) = ask(stack, question)
            return status == 503 and "docker compose up -d --wait mlflow" in body

        wait_for("the door's own answer", refused)
        (container,) = stack.containers("registry-door")
        assert container["State"]["Health"]["Status"] == "healthy"
    wait_for("MLflow behind the door", lambda: ask(stack, question)[0][0] in (200, 404))
