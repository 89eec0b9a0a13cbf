"""Model versions that answer with their own number, in the stack's own registry."""

from __future__ import annotations

import mlflow
import onnx
from onnx import TensorProto, helper

from modelyard.contract import Contract, Feature, FeatureType, Output, OutputKind
from modelyard.training.package.onnx_export import OPSET, normalise
from support.small_models import register
from support.stack_code_models import register_code
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
    url, version = _url(stack), _next_version(stack)
    assert register(url, NAME, numbered_graph(version), CONTRACT) == str(version)
    return str(version)


def register_slow(stack: Stack) -> str:
    """Register the next version: code that answers the same, large amounts after `SLOW_S`."""
    version = _next_version(stack)
    code = f"NUMBER = {version}\n{SLOW_CODE}"
    patient = CONTRACT.model_copy(update={"inference_timeout_s": 2 * SLOW_S})
    assert register_code(_url(stack), NAME, code, patient) == str(version)
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
    wait_for(f"version {version}", lambda: served(stack) == version, timeout_s=20)


def _url(stack: Stack) -> str:
    return str(stack.mlflow.base_url).rstrip("/")


def _next_version(stack: Stack) -> int:
    found = mlflow.MlflowClient(_url(stack)).search_model_versions(f"name='{NAME}'")
    return len(found) + 1


def slow_row(index: int) -> Row:
    """A row that such a version takes `SLOW_S` for."""
    return {"amount": SLOW_FROM + index % (AMOUNTS - SLOW_FROM)}


def numbered_graph(number: int) -> onnx.ModelProto:
    """`AMOUNTS * number + amount`."""
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Add", ["amount", "offset"], ["sum"]),
                helper.make_node("Cast", ["sum"], ["answer"], to=TensorProto.FLOAT),
            ],
            NAME,
            [helper.make_tensor_value_info("amount", TensorProto.DOUBLE, ["rows"])],
            [helper.make_tensor_value_info("answer", TensorProto.FLOAT, ["rows"])],
            [helper.make_tensor("offset", TensorProto.DOUBLE, [1], [float(AMOUNTS * number)])],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    model.ir_version = 10
    return normalise(model)
