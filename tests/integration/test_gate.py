"""The gate against champions in a real registry: whole ones, damaged ones, none."""

from __future__ import annotations

import json
from dataclasses import replace
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
from modelyard.errors import GateRefusedError
from modelyard.registry import RegistryClient
from modelyard.registry.moves import moves_of
from modelyard.registry.promotion import promote
from modelyard.registry.verdict import CHAMPION_TAG, NUMBERS_TAG, SENTENCE_TAG, VERDICT_TAG
from modelyard.scoring.proof import ProofLimits
from modelyard.training.experiment import GateConfig
from modelyard.training.judge.gate import Gate, Verdict
from modelyard.training.judge.handover import hand_over
from modelyard.training.package.onnx_export import OPSET
from modelyard.training.package.sklearn_model import feature_table
from support.models.flavors import log, log_sklearn
from support.models.model import Model, register
from support.models.rankings import (
    CONTRACT,
    NIGHT,
    NOISE,
    SIGNAL,
    TARGET,
    boosted_trees,
    contract_of,
    held_out_rows,
    ranking,
)
from support.network import free_port

GOOD = ("signal", "signal")
BAD = ("noise", "noise")
BAD_AT_NIGHT = ("signal", "noise")


@pytest.fixture
def name() -> str:
    return f"gated-{uuid4().hex[:8]}"


def gate(name: str, **config: object) -> Gate:
    rows = held_out_rows()
    baseline = rows["noise"].to_numpy()
    return Gate(GateConfig(**config), name, "champion", rows, TARGET, baseline)


def candidate(folder: Path, how: tuple[str, str], contract=CONTRACT) -> Path:
    Model(ranking(*how, contract), contract).write(folder / "candidate")
    return folder / "candidate"


def champion(registry: RegistryClient, mlflow_url: str, name: str, *how: object, **options) -> str:
    version = register(mlflow_url, name, Model(ranking(*(how or GOOD)), CONTRACT), **options)
    registry.set_alias(name, "champion", version)
    return version


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed}


def test_without_a_champion_the_absolute_checks_decide(
    registry: RegistryClient, name: str, tmp_path: Path
):
    verdict = gate(name).judge(registry, candidate(tmp_path, GOOD))
    assert verdict.passed
    assert verdict.champion == ""
    assert {check.name for check in verdict.checks} == {"baseline", "latency"}
    assert 0 < verdict.numbers["latency_p99_ms"] < 50


def test_a_model_that_is_worse_than_the_baseline_is_refused(
    registry: RegistryClient, name: str, tmp_path: Path
):
    judge = gate(name)
    judge = Gate(
        judge.config, name, "champion", judge.test, TARGET, judge.test["signal"].to_numpy()
    )
    verdict = judge.judge(registry, candidate(tmp_path, BAD))
    assert failed(verdict) == {"baseline"}
    assert "the baseline" in verdict.sentence()


def test_a_model_over_its_latency_budget_is_refused(
    registry: RegistryClient, name: str, tmp_path: Path
):
    verdict = gate(name, latency_p99_ms=1e-6).judge(registry, candidate(tmp_path, GOOD))
    assert failed(verdict) == {"latency"}
    assert "budget is 1e-06 ms" in verdict.sentence()


def test_an_equal_model_passes_and_its_numbers_are_those_of_both(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path
):
    version = champion(registry, mlflow_url, name)
    verdict = gate(name).judge(registry, candidate(tmp_path, GOOD))
    assert verdict.passed, verdict.sentence()
    assert verdict.champion == version
    assert verdict.numbers["candidate"] == verdict.numbers["champion"] > 0.7
    assert set(verdict.slices) == {"night=False", "night=True"}


def test_a_worse_model_is_refused_with_the_numbers(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path
):
    version = champion(registry, mlflow_url, name)
    verdict = gate(name).judge(registry, candidate(tmp_path, BAD))
    assert "champion" in failed(verdict)
    assert verdict.sentence().startswith("refused: roc_auc 0.")
    assert f"the champion (version {version})" in verdict.sentence()
    assert "the margin is 0.005" in verdict.sentence()


def test_a_collapse_in_one_slice_is_refused_by_its_name(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path
):
    champion(registry, mlflow_url, name)
    verdict = gate(name, margin=1).judge(registry, candidate(tmp_path, BAD_AT_NIGHT))
    assert failed(verdict) == {"slices"}
    assert "night=True" in verdict.sentence()
    assert "night=False" not in verdict.sentence()


def test_slices_that_are_too_small_are_counted_and_not_passed_over_in_silence(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path
):
    champion(registry, mlflow_url, name)
    # night has halves of 1500 rows, and noise quarters of 750
    judge = replace(gate(name, slice_min_rows=1_000), slices=("night", "noise"))
    verdict = judge.judge(registry, candidate(tmp_path, GOOD))
    assert "worst of 2 slices (and 4 too small to judge) night=" in verdict.sentence()
    assert json.loads(verdict.to_json())["slices_not_judged"] == 4


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ((SIGNAL, NIGHT), "noise is gone"),
        (
            (SIGNAL, NOISE, NIGHT, Feature(name="count", type=FeatureType.INTEGER)),
            "count is new, and required",
        ),
        ((SIGNAL, Feature(name="noise", type=FeatureType.INTEGER), NIGHT), "noise was a number"),
    ],
    ids=["removed", "added", "other type"],
)
def test_features_that_break_callers_are_refused_unless_allowed(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path, features, said: str
):
    champion(registry, mlflow_url, name)
    contract = contract_of(*features)
    package = candidate(tmp_path, GOOD, contract)
    verdict = gate(name).judge(registry, package)
    assert failed(verdict) == {"schema"}
    assert said in verdict.sentence()
    assert gate(name, allow_schema_change=True).judge(registry, package).passed


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


PYTHON_CODE = """
import mlflow
import numpy as np


class Signal(mlflow.pyfunc.PythonModel):
    def predict(self, model_input):
        return 1 / (1 + np.exp(-model_input["signal"].to_numpy()))


mlflow.models.set_model(Signal())
"""


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


LITTLE = ProofLimits(seconds=2)


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


def test_a_registry_that_goes_away_is_a_refusal_and_no_lost_training(name: str, tmp_path: Path):
    with RegistryClient(f"http://127.0.0.1:{free_port()}") as nobody:
        verdict = gate(name).judge(nobody, candidate(tmp_path, GOOD))
    assert failed(verdict) == {"champion"}
    assert "does not answer" in verdict.sentence()


def test_the_verdict_is_on_the_version_and_stands_in_the_way_of_a_promotion(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path
):
    champion(registry, mlflow_url, name)
    verdict = gate(name).judge(registry, candidate(tmp_path, BAD))
    version = register(mlflow_url, name, Model(ranking(*BAD), CONTRACT), tags=verdict.tags())
    tags = registry.version(name, version).tags
    assert tags[VERDICT_TAG] == "refused"
    assert tags[CHAMPION_TAG] == "1"
    assert tags[SENTENCE_TAG] == verdict.sentence()
    assert json.loads(tags[NUMBERS_TAG])["candidate"] == verdict.numbers["candidate"]
    assert "night=True" in json.loads(verdict.to_json())["slices"]

    with pytest.raises(GateRefusedError, match="refused: roc_auc"):
        promote(registry, name, "champion", version, who="ann", why="")
    assert registry.aliases(name) == {"champion": "1"}
    moved = promote(registry, name, "champion", version, who="ann", why="urgent", force=True)
    assert moved is not None
    assert moved.forced
    assert moves_of(registry.registered_model(name), "champion")[-1].forced


def test_a_champion_that_changed_meanwhile_is_judged_against_anew(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path
):
    """Two trainings at once: the second one's verdict was about a champion of the past."""
    champion(registry, mlflow_url, name, *BAD)
    judge = gate(name)
    verdict = judge.judge(registry, candidate(tmp_path, BAD))
    assert verdict.passed
    version = register(mlflow_url, name, Model(ranking(*BAD), CONTRACT), tags=verdict.tags())
    better = champion(registry, mlflow_url, name, *GOOD)
    said: list[str] = []
    assert not hand_over(registry, judge, version, verdict, "ann", said.append)
    assert registry.aliases(name) == {"champion": better}
    tags = registry.version(name, version).tags
    assert (tags[VERDICT_TAG], tags[CHAMPION_TAG]) == ("refused", better)
    assert any("judged" in line or "again" in line for line in said)


def test_a_version_that_passed_takes_the_alias(
    registry: RegistryClient, mlflow_url: str, name: str, tmp_path: Path
):
    judge = gate(name)
    verdict = judge.judge(registry, candidate(tmp_path, GOOD))
    version = register(mlflow_url, name, Model(ranking(*GOOD), CONTRACT), tags=verdict.tags())
    assert registry.version(name, version).tags[CHAMPION_TAG] == "none"
    assert hand_over(registry, judge, version, verdict, "ann", lambda line: None)
    (move,) = moves_of(registry.registered_model(name), "champion")
    assert (move.moved_to, move.who, move.forced) == (version, "ann", False)
