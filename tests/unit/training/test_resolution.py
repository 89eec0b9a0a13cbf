"""The way of a configuration ends in one place, where a mistake is named by its file and key."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import fraud_detector
from fraud_detector.model import FitConfig
from modelyard.config import dump_yaml
from modelyard.errors import ConfigError
from modelyard.settings import TrainingSettings, read_settings
from modelyard.training.experiment import read_experiment
from modelyard.training.resolution import ResolvedExperiment, resolve

CONFIG = Path(__file__).parents[3] / "configs/train.yaml"


def resolved(*assignments: str) -> ResolvedExperiment:
    return resolve(read_experiment(CONFIG, assignments), "configs/train.yaml")


def test_defaults_are_filled_in_and_what_is_fitted_is_what_is_recorded():
    found = resolved("fit.epochs=3")
    assert found.project is fraud_detector.PROJECT
    assert found.fit_config == FitConfig(epochs=3, patience=4)
    assert found.config["fit"] == found.fit_config.model_dump(mode="json")
    assert found.config["fit"]["schedule"] == "cosine"  # which the file does not have
    assert found.config["evaluation"]["bootstrap_resamples"] == 200
    assert "tune" not in found.config


def test_what_is_recorded_resolves_to_itself(tmp_path: Path):
    first = resolved("fit.epochs=3", "stream={}")
    path = tmp_path / "config.yaml"
    path.write_text(dump_yaml(first.config))
    assert resolve(read_experiment(path), str(path)) == first


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        (
            "fit.epoch=3",
            'configs/train.yaml is not valid:\n  fit.epoch: no such key. Did you mean "epochs"?',
        ),
        (
            "fit.hidden=[8, 0]",
            "configs/train.yaml is not valid:\n  fit.hidden.1: expected at least 1, found 0.",
        ),
        (
            "evaluation.slices=[hours]",
            'configs/train.yaml: evaluation.slices: "hours" is no feature. Did you mean "hour"?',
        ),
        (
            "evaluation.slices=[hour, zebra]",
            'configs/train.yaml: evaluation.slices: "zebra" is no feature.',
        ),
        (
            "project=nothing",
            'configs/train.yaml: project: there is no Python package "nothing".',
        ),
    ],
)
def test_a_mistake_is_named_by_its_file_and_key(assignment: str, said: str):
    with pytest.raises(ConfigError) as caught:
        resolved(assignment)
    assert caught.value.detail == said


def test_a_project_that_cannot_stream_says_so(monkeypatch: pytest.MonkeyPatch):
    in_memory = dataclasses.replace(fraud_detector.PROJECT, fit_stream=None)
    monkeypatch.setattr(fraud_detector, "PROJECT", in_memory)
    with pytest.raises(ConfigError, match="has no fit_stream") as caught:
        resolved("stream={}")
    assert caught.value.detail.startswith("configs/train.yaml: stream: ")
    assert "docs/your-own-model.md" in caught.value.fix


def test_the_environment_changes_no_experiment(monkeypatch: pytest.MonkeyPatch):
    before = resolved()
    for name in ("SEED", "FIT_EPOCHS", "fit.epochs", "EXPERIMENT", "PROMOTE", "DATA"):
        monkeypatch.setenv(name, "3")
    read_settings(TrainingSettings)
    assert resolved() == before
