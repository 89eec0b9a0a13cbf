"""From an answer to its version, by the id in its header: also after its server has gone."""

from __future__ import annotations

import httpx
import pytest

from support.replicas import kill_server, replica_names, wait_until_ready
from support.stack_driver import ROOT, Stack, run, wait_for

ROW = {"amount": 500, "merchant_category": "electronics", "hour": 23}


def traced(stack: Stack, answer: httpx.Response) -> str:
    """What `make trace` says of this answer."""
    request = f"REQUEST={answer.headers['x-request-id']}"
    done = run("make", "--no-print-directory", "trace", request, cwd=ROOT, env=stack.environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_answer_is_traced_to_its_version_after_its_server_was_killed(trained: Stack) -> None:
    answer = trained.predict()
    (name,) = replica_names(trained)
    kill_server(name)
    wait_for("the server's return", trained.version)
    said = traced(trained, answer)
    assert said.startswith(f"fraud-detector version {answer.headers['x-model-version']}\n")
    assert trained.environment()["GIT_COMMIT"] in said
    request = said.partition("\nrequest\n")[2].partition("\n\n")[0]
    assert "/predict" in request
    assert "electronics" not in request  # contents are logged where that is asked for


@pytest.mark.parametrize("protocol", ["/invocations", "/v2/models/fraud-detector/infer"])
def test_every_protocol_is_traced(trained: Stack, protocol: str) -> None:
    types = {"amount": "FP64", "merchant_category": "BYTES", "hour": "INT64"}
    tensors = [
        {"name": name, "shape": [1], "datatype": types[name], "data": [value]}
        for name, value in ROW.items()
    ]
    body = {"inputs": [ROW] if protocol == "/invocations" else tensors}
    answer = trained.api.post(protocol, json=body)
    assert answer.status_code == 200, answer.text
    assert protocol.replace("fraud-detector", "{model}") in traced(trained, answer)


def test_a_container_that_is_removed_leaves_its_lines(trained: Stack) -> None:
    answer = trained.predict()
    trained.compose("rm", "--stop", "--force", "serving")
    trained.compose("up", "-d", "--wait", "serving")
    wait_until_ready(trained, 1)
    assert "answered" in traced(trained, answer)
