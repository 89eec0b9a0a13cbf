"""The committed configurations are valid, and a mistake in one is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import pytest
from pydantic import model_validator

from fraud_detector.model import FitConfig
from modelyard.config import Frozen, validate
from modelyard.errors import ConfigError
from modelyard.training.experiment import StreamConfig, is_in_store, read_experiment
from modelyard.training.project import find_project
from modelyard.training.search_space import TuneConfig

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
        ("data=../x.parquet", "data: expected the name of a file"),
        ("data=s3://", "data: expected the name of a file"),
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
        ("tune.space={fit.x: {low: 0.5, high: 3, integer: true}}", "must be whole numbers"),
    ],
)
def test_a_mistake_is_named(assignment: str, said: str):
    with pytest.raises(ConfigError) as caught:
        read_experiment(CONFIGS / "train.yaml", [assignment])
    assert said in caught.value.detail


def test_a_file_that_is_not_there_is_answered_with_the_configurations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    for name in ("configs/train.yaml", "configs/tune.yaml", "docker-compose.yml"):
        (tmp_path / name).write_text("")
    for asked, said in (
        ("nope.yaml", "There are: configs/train.yaml, configs/tune.yaml."),
        ("configs/trian.yaml", 'Did you mean "configs/train.yaml"?'),
    ):
        with pytest.raises(ConfigError) as caught:
            read_experiment(Path(asked))
        assert caught.value.detail == f"There is no file {asked}. {said}"


def test_a_contract_that_does_not_hold_together_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "broken_project.py").write_text(
        "from modelyard.contract import Contract, Feature, FeatureType\n"
        "f = Feature(name='x', type=FeatureType.NUMBER, minimum=2, maximum=1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError) as caught:
        find_project("broken_project")
    assert caught.value.detail == (
        "project: a Feature in broken_project is not valid:\n  x: minimum is above maximum."
    )


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"fit.embedding": {"low": -5, "high": 2}}, "embedding: expected at least 1, found -5"),
        ({"fit.warmup": {"low": 0.5, "high": 1.5}}, "warmup: expected less than 1, found 1.5"),
        ({"fit.embedding": {"low": 2, "high": 16}}, "embedding: expected a whole number"),
        ({"fit.hidden": {"choices": [[8], [8, 0]]}}, "hidden.1: expected at least 1, found 0"),
        ({"fit.embeding": {"low": 2, "high": 4}}, 'Did you mean "embedding"?'),
        ({"fit.hidden.x": {"choices": [1]}}, '"hidden" holds a single value'),
    ],
)
def test_a_search_of_what_the_fit_refuses_is_told_before_it_begins(
    space: dict[str, Any], said: str
):
    experiment = read_experiment(CONFIGS / "train.yaml")
    with pytest.raises(ConfigError) as caught:
        TuneConfig(space=space).check(FitConfig, experiment.fit)
    assert said in caught.value.detail
    assert caught.value.detail.startswith("tune.space: ")


class Ordered(Frozen):
    """Two keys that have to agree."""

    low: int = 1
    high: int = 5

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


def test_a_rule_over_several_keys_is_left_to_the_trial_that_has_all_of_them():
    whole = {"integer": True}
    space = {
        "fit.low": {"low": 1, "high": 9, **whole},
        "fit.high": {"low": 10, "high": 20, **whole},
    }
    TuneConfig(space=space).check(Ordered, {})


def test_data_in_a_store_are_streamed():
    wanted = ["data=s3://bucket/a/prefix", "stream={}"]
    experiment = read_experiment(CONFIGS / "train.yaml", wanted)
    assert is_in_store(experiment.data)
    assert experiment.stream == StreamConfig()


@pytest.mark.parametrize("name", ["no_such_package", "fraud-detector", "json", "os.path"])
def test_what_is_not_a_project_is_refused(name: str):
    with pytest.raises(ConfigError, match="project: "):
        find_project(name)
