"""Model versions that answer with their own number, in the stack's own registry."""

from __future__ import annotations

import mlflow

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from support.models.model import Model, register
from support.models.toy import toy_graph
from support.stack_driver import Stack, wait_for
from support.traffic import AMOUNTS, Row

NAME = "numbered"
URI = f"models:/{NAME}@champion"
CONTRACT = Contract(
    features=(Feature(name="amount", type=FeatureType.NUMBER),),
    output=Output(name="answer", kind=OutputKind.VALUE),
    example={"amount": 1},
)
SLOW_S = 1.0
SLOW_FROM = 500
SLOW_CODE = f"""
import time

class Model:
    def predict(self, frame):
        if frame["amount"].max() >= {SLOW_FROM}:
            time.sleep({SLOW_S})
        return {AMOUNTS} * NUMBER + frame["amount"]
"""


def register_numbered(stack: Stack) -> str:
    """Register the next version; it answers `AMOUNTS * version + amount`."""
    version = _next_version(stack)
    graph = toy_graph(version, CONTRACT.model_dump())
    assert register(stack.mlflow_url, NAME, Model(graph, CONTRACT)) == str(version)
    return str(version)


def register_slow(stack: Stack) -> str:
    """Register the next version: code that answers the same, large amounts after `SLOW_S`."""
    version = _next_version(stack)
    code = f"NUMBER = {version}\n{SLOW_CODE}"
    patient = CONTRACT.model_copy(update={"inference_timeout_s": 2 * SLOW_S})
    assert register(stack.mlflow_url, NAME, Model(code, patient)) == str(version)
    return str(version)


def promote(stack: Stack, version: str) -> None:
    """Let the alias point to `version`."""
    body = {"name": NAME, "alias": "champion", "version": version}
    stack.mlflow.post("/api/2.0/mlflow/registered-models/alias", json=body).raise_for_status()


def served(stack: Stack) -> str:
    """The version that answers; empty while none does."""
    return stack.api.get("/model").json().get("version", "")


def serve_numbered(stack: Stack, version: str) -> None:
    """Promote `version` and wait until some replica serves it."""
    promote(stack, version)
    wait_for(f"version {version}", lambda: served(stack) == version)


def _next_version(stack: Stack) -> int:
    found = mlflow.MlflowClient(stack.mlflow_url).search_model_versions(f"name='{NAME}'")
    return len(found) + 1


def slow_row(index: int) -> Row:
    """A row that such a version takes `SLOW_S` for."""
    return {"amount": SLOW_FROM + index % (AMOUNTS - SLOW_FROM)}
