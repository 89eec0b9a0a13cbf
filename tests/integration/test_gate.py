"""The gate: what it asks of a candidate, and what its verdict is for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from modelyard.contract import Feature, FeatureType
from modelyard.errors import GateRefusedError
from modelyard.registry import RegistryClient
from modelyard.registry.moves import moves_of
from modelyard.registry.promotion import promote
from modelyard.registry.verdict import CHAMPION_TAG, NUMBERS_TAG, SENTENCE_TAG, VERDICT_TAG
from modelyard.training.judge.gate import Gate
from modelyard.training.judge.handover import hand_over
from support.gated import BAD, BAD_AT_NIGHT, GOOD, candidate, champion, failed, gate
from support.models.model import Model, register
from support.models.rankings import (
    CONTRACT,
    NIGHT,
    NOISE,
    SIGNAL,
    TARGET,
    contract_of,
    ranking,
)
from support.network import free_port


@pytest.fixture
def name() -> str:
    return f"gated-{uuid4().hex[:8]}"


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
