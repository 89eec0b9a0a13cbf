"""The gate against champions of every kind: other columns, damaged, plain MLflow, code, endless."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import mlflow
import numpy as np
import onnx
import pandas as pd
import pytest
from mlflow.models import infer_signature
from onnx import helper
from sklearn.linear_model import LogisticRegression

from modelyard.contract import Feature, FeatureType
from modelyard.registry import RegistryClient
from modelyard.scoring.proof import ProofLimits
from modelyard.training.package.onnx_export import OPSET
from modelyard.training.package.sklearn_model import feature_table
from support.gated import BAD, GOOD, candidate, champion, failed, gate
from support.models.flavors import log, log_sklearn
from support.models.model import Model, register
from support.models.rankings import (
    CONTRACT,
    NIGHT,
    NOISE,
    SIGNAL,
    boosted_trees,
    contract_of,
    held_out_rows,
    ranking,
)

PYTHON_CODE = """
import mlflow
import numpy as np


class Signal(mlflow.pyfunc.PythonModel):
    def predict(self, model_input):
        return 1 / (1 + np.exp(-model_input["signal"].to_numpy()))


mlflow.models.set_model(Signal())
"""
LITTLE = ProofLimits(seconds=2)


@pytest.fixture
def name() -> str:
    return f"gated-{uuid4().hex[:8]}"


def test_a_champion_whose_columns_left_the_data_needs_the_schema_change_allowed(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path
):
    old = contract_of(SIGNAL, NOISE, NIGHT, Feature(name="gone", type=FeatureType.NUMBER))
    version = register(mlflow_url, name, Model(ranking(*GOOD, old), old))
    registry.set_alias(name, "champion", version)
    package = candidate(tmp_path, GOOD)
    verdict = gate(name).judge(registry, package)
    assert failed(verdict) == {"champion", "schema"}
    assert "no column gone" in verdict.sentence()
    assert gate(name, allow_schema_change=True).judge(registry, package).passed


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("contract.yaml", "contract.yaml is in manifest.json and not among"),
        ("model.onnx", "model.onnx is in manifest.json and not among"),
    ],
)
def test_a_champion_that_is_not_whole_cannot_be_compared_with(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path, missing: str, said: str
):
    champion(registry, mlflow_url, name, without=(missing,))
    verdict = gate(name, allow_schema_change=True).judge(registry, candidate(tmp_path, GOOD))
    assert failed(verdict) == {"champion"}
    assert said in verdict.sentence()
    assert np.isfinite(verdict.numbers["candidate"])


def test_a_champion_without_a_manifest_is_compared_with(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path
):
    """Serving serves it, so the gate asks it: nothing says what its files should be."""
    champion(registry, mlflow_url, name, without=("manifest.json",))
    verdict = gate(name).judge(registry, candidate(tmp_path, BAD))
    assert "champion" in failed(verdict)
    assert "the margin is 0.005" in verdict.sentence()


@pytest.mark.parametrize("flavor", ["sklearn", "python code"])
def test_a_champion_that_plain_mlflow_registered_is_compared_with(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path, flavor: str
):
    """No contract, no manifest, no graph: its signature says what it takes, a child runs it."""
    rows = held_out_rows()
    table = feature_table(rows, CONTRACT)
    if flavor == "sklearn":
        label = (rows["signal"] > 0).to_numpy()
        model = LogisticRegression().fit(table, label)
        version = log_sklearn(mlflow_url, name, model, table)
    else:
        version = log(mlflow_url, name, lambda: log_python_code(tmp_path / "code.py", name, table))
    registry.set_alias(name, "champion", version)
    judge = gate(name, allow_schema_change=True)  # a value is not yet called a probability
    verdict = judge.judge(registry, candidate(tmp_path, BAD))
    assert "champion" in failed(verdict), verdict.sentence()
    assert f"the champion (version {version})" in verdict.sentence()
    better = judge.judge(registry, candidate(tmp_path / "good", GOOD))
    assert better.passed, better.sentence()
    assert better.numbers["champion"] > 0.7


def log_python_code(code: Path, name: str, table: pd.DataFrame) -> None:
    code.write_text(PYTHON_CODE)
    mlflow.pyfunc.log_model(
        name="model",
        python_model=str(code),
        registered_model_name=name,
        signature=infer_signature(table),
        pip_requirements=["pandas"],
    )


def test_a_champion_whose_graph_never_ends_is_a_refusal_and_training_goes_on(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path, monkeypatch
):
    """A graph from the registry is opened and asked in a process of its own first."""
    monkeypatch.setattr("modelyard.training.judge.champion.ProofLimits", lambda: LITTLE)
    version = register(mlflow_url, name, Model(endless(), contract_of(SIGNAL)))
    registry.set_alias(name, "champion", version)
    verdict = gate(name, allow_schema_change=True).judge(registry, candidate(tmp_path, GOOD))
    assert failed(verdict) == {"champion"}
    assert "within 2 s" in verdict.sentence()


def endless() -> onnx.ModelProto:
    """A loop of 2⁶³ - 1 turns around `signal`."""
    number, double = onnx.TensorProto.INT64, onnx.TensorProto.DOUBLE
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["still"]),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", number, []),
            helper.make_tensor_value_info("going", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", double, ["n"]),
        ],
        [
            helper.make_tensor_value_info("still", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", double, ["n"]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["turns", "", "signal"], ["score"], body=body)],
        "endless",
        [helper.make_tensor_value_info("signal", double, ["n"])],
        [helper.make_tensor_value_info("score", double, ["n"])],
        [helper.make_tensor("turns", number, [], [2**63 - 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 10
    return model


def test_a_champion_that_is_a_pipeline_as_it_is_answers_the_same_rows(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path
):
    """What has no graph is packaged as skops: such a champion judges, and is judged."""
    version = register(mlflow_url, name, Model(boosted_trees("signal"), CONTRACT))
    registry.set_alias(name, "champion", version)
    assert "model.skops" in json.loads(
        registry.version_text(registry.version(name, version), "manifest.json")
    )["sha256"]  # fmt: skip
    judge = gate(name, latency_p99_ms=60_000)  # scikit-learn's threads on a machine that is busy
    verdict = judge.judge(registry, candidate(tmp_path, BAD))
    assert "champion" in failed(verdict)
    assert f"the champion (version {version})" in verdict.sentence()

    verdict = judge.judge(registry, candidate(tmp_path / "good", GOOD))
    assert verdict.passed, verdict.sentence()
    assert verdict.numbers["candidate"] > verdict.numbers["champion"] > 0.6

    pipeline = tmp_path / "pipeline"
    Model(boosted_trees("signal"), CONTRACT).write(pipeline)
    verdict = judge.judge(registry, pipeline)
    assert failed(verdict) <= {"latency"}, verdict.sentence()
    assert verdict.numbers["candidate"] == verdict.numbers["champion"]
    Model(boosted_trees("noise"), CONTRACT).write(tmp_path / "worse")
    assert "champion" in failed(judge.judge(registry, tmp_path / "worse"))
