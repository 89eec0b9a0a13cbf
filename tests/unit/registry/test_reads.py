"""A server that follows a model only reads, and its door to the registry passes exactly that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.registry import ModelVersion, RegistryClient, parse_model_uri
from modelyard.registry.lean_httpx import httpx
from modelyard.registry.reads import ARTIFACTS, READS, is_read

ROOT = Path(__file__).parents[3]
DOOR = (ROOT / "configs/registry-door/haproxy.cfg").read_text()
VERSION = ModelVersion("m", "1", "run", "", "READY", 0)
VERSION_BODY = {"name": "m", "version": "1", "status": "READY", "creation_timestamp": "0"}
ANSWERS = {
    "registered-models/alias": {"model_version": VERSION_BODY},
    "model-versions/get": {"model_version": VERSION_BODY},
    "model-versions/search": {"model_versions": [VERSION_BODY]},
    "registered-models/get-latest-versions": {"model_versions": [VERSION_BODY]},
    "model-versions/get-download-uri": {"artifact_uri": "mlflow-artifacts:/1/models/m-1"},
    "runs/get": {"run": {"info": {"run_id": "run", "status": "FINISHED"}, "data": {}}},
    "mlflow-artifacts/artifacts": {"files": [{"path": "a b%.onnx", "is_dir": False}]},
}


def asked_for(call: Callable[[RegistryClient], object]) -> list[tuple[str, str]]:
    """Method and path, as sent, of what the client asks."""
    asked: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        asked.append((request.method, path))
        known = [body for end, body in ANSWERS.items() if path.endswith(end)]
        return httpx.Response(200, content=json.dumps(known[0] if known else {}).encode())

    client = RegistryClient("http://registry")
    client._http = httpx.Client(
        base_url="http://registry", transport=httpx.MockTransport(answer), timeout=1
    )
    with client:
        call(client)
    return asked


FOLLOWING: dict[str, Callable[[RegistryClient, Path], object]] = {
    "an alias": lambda client, _: client.resolve(parse_model_uri("models:/m@champion")),
    "a version": lambda client, _: client.resolve(parse_model_uri("models:/m/1")),
    "a stage": lambda client, _: client.resolve(parse_model_uri("models:/m/Production")),
    "the latest": lambda client, _: client.resolve(parse_model_uri("models:/m/latest")),
    "a run": lambda client, _: client.run("run"),
    "the files": lambda client, folder: client.download(VERSION, folder / "files"),
}
WRITING: dict[str, Callable[[RegistryClient], object]] = {
    "an alias": lambda client: client.set_alias("m", "champion", "1"),
    "a version's tag": lambda client: client.set_version_tag("m", "1", "key", "value"),
    "a model's tag": lambda client: client.set_model_tag("m", "key", "value"),
}


def test_everything_that_following_asks_is_a_read_and_every_read_is_asked(tmp_path: Path) -> None:
    asked = {
        one
        for call in FOLLOWING.values()
        for one in asked_for(lambda c, call=call: call(c, tmp_path))
    }
    assert all(is_read(method, path) for method, path in asked)
    assert asked >= READS
    assert asked - READS == {("GET", f"{ARTIFACTS}/1/models/m-1/a%20b%25.onnx")}


@pytest.mark.parametrize("what", WRITING)
def test_no_write_is_a_read(what: str) -> None:
    asked = asked_for(WRITING[what])
    assert asked
    assert not any(is_read(method, path) for method, path in asked)


def test_the_door_lists_the_same() -> None:
    listed = {
        (method.upper(), path)
        for method, path in re.findall(r"(?m)^  acl asked_by_(\w+) path -m str (\S+)$", DOOR)
    }
    assert listed == READS
    assert re.findall(r"(?m)^  acl file path -m beg (\S+)$", DOOR) == [f"{ARTIFACTS}/"]


def test_the_door_refuses_whatever_is_not_listed() -> None:
    passing = re.findall(r"(?m)^  http-request set-var\(txn.is_read\) bool\(true\) if (.+)$", DOOR)
    assert passing == [
        "{ method GET } asked_by_get",
        "{ method GET } file !leads_out",
        "{ method POST } asked_by_post",
    ]
    assert re.search(
        r"(?m)^  http-request return status 403 .* unless \{ var\(txn.is_read\) -m bool \}$", DOOR
    )
