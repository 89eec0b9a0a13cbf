"""The committed configurations are valid, and a mistake in one is explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelyard.config import validate
from modelyard.errors import ConfigError
from modelyard.training.experiment import StreamConfig, is_in_store, read_experiment
from modelyard.training.project import find_project

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("name", ["train.yaml", "train-smoke.yaml", "tune.yaml"])
def test_the_committed_configurations_are_valid(name: str):
    experiment = read_experiment(CONFIGS / name)
    project = find_project(experiment.project)
    validate(project.fit_config, experiment.fit, "fit")


def test_set_changes_one_key():
    experiment = read_experiment(CONFIGS / "train.yaml", ["fit.epochs=3", "promote=never"])
    assert (experiment.fit["epochs"], experiment.promote) == (3, "never")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("registred_model=x", 'Did you mean "registered_model"?'),
        ("promote=maybe", "promote: "),
        ("data=../x.parquet", "data: "),
        ("data=s3://bucket/prefix", "--set stream={}"),
        ("stream.chunk_rows=10", "stream.chunk_rows: "),
        ("stream.chunks=10", "stream.chunks: no such key"),
        ("registered_model=a/b", "registered_model: "),
        ("seed=-1", "seed: "),
        ("evaluation.bootstrap=5", "evaluation.bootstrap: no such key"),
        ("tune.space={}", "tune.space: "),
        ("tune.space={epochs: {low: 1, high: 3}}", "only the fit can be tuned"),
        ("tune.space={fit.epochs: {low: 3, high: 1}}", "a higher high"),
        ("tune.space={fit.epochs: {low: 1, high: 3, choices: [1]}}", "not both"),
        ("tune.space={fit.x: {low: 0, high: 3, log: true}}", "low must be above 0"),
    ],
)
def test_a_mistake_is_named(assignment: str, said: str):
    with pytest.raises(ConfigError) as caught:
        read_experiment(CONFIGS / "train.yaml", [assignment])
    assert said in caught.value.detail


def test_data_in_a_store_are_streamed():
    wanted = ["data=s3://bucket/a/prefix", "stream={}"]
    experiment = read_experiment(CONFIGS / "train.yaml", wanted)
    assert is_in_store(experiment.data)
    assert experiment.stream == StreamConfig()


@pytest.mark.parametrize("name", ["no_such_package", "fraud-detector", "json", "os.path"])
def test_what_is_not_a_project_is_refused(name: str):
    with pytest.raises(ConfigError, match="project: "):
        find_project(name)
