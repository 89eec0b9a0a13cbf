"""`modelyard train`: what the gate says of a version, and what `promote` makes of it."""

from __future__ import annotations

import json

import pytest

from modelyard.registry import RegistryClient
from modelyard.registry.moves import moves_of
from modelyard.registry.verdict import CHAMPION_TAG, SENTENCE_TAG, VERDICT_TAG
from support.checkout import Checkout, copy_tree

pytestmark = pytest.mark.timeout(900)  # trainings, several a test

MODEL = "gated-training"
HOPELESS = ("--set", "fit.learning_rate=1e-9", "--set", "gate.margin=0.01")


@pytest.fixture(scope="module")
def checkout(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder = tmp_path_factory.mktemp("gate") / "checkout"
    made = copy_tree(folder, {"MLFLOW_TRACKING_URI": mlflow_url, "MODEL_NAME": MODEL})
    done = made.push_data()
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def champion(checkout: Checkout) -> str:
    done = checkout.train(MODEL)
    assert done.returncode == 0, done.stderr
    assert "gate      passed: " in done.stdout
    assert f"alias     {MODEL}@champion is version 1 now" in done.stdout
    return "1"


def test_a_refused_version_is_registered_with_its_verdict_and_the_champion_stays(
    checkout: Checkout, champion: str, registry: RegistryClient
):
    done = checkout.train(MODEL, *HOPELESS)
    assert done.returncode == 0, done.stderr  # the training is finished; it is not promoted
    assert "gate      refused: roc_auc" in done.stdout
    assert f"alias     {MODEL}@champion stays: the gate refused version" in done.stdout
    version = next(registry.versions(MODEL))
    assert version.tags[VERDICT_TAG] == "refused"
    assert version.tags[CHAMPION_TAG] == champion
    assert version.tags[SENTENCE_TAG] in done.stdout
    numbers = json.loads(registry.run_text(registry.run(version.run_id), "gate.json"))
    assert numbers["passed"] is False
    assert numbers["numbers"]["champion"] > numbers["numbers"]["candidate"]
    assert registry.aliases(MODEL) == {"champion": champion}


@pytest.mark.parametrize(("mode", "judged"), [("manual", "passed"), ("never", None)])
def test_a_person_promotes_what_training_only_judged_or_tried(
    checkout: Checkout, champion: str, registry: RegistryClient, mode: str, judged: str | None
):
    before = moves_of(registry.registered_model(MODEL), "champion")
    done = checkout.train(MODEL, "--promote", mode)
    assert done.returncode == 0, done.stderr
    assert next(registry.versions(MODEL)).tags.get(VERDICT_TAG) == judged
    assert moves_of(registry.registered_model(MODEL), "champion") == before


def test_another_word_than_the_three_is_exit_code_2(checkout: Checkout):
    done = checkout.modelyard("train", "--promote", "always")
    assert done.returncode == 2
    assert "'auto'" in done.stderr
