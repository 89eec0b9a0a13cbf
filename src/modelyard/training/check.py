"""An experiment against its project, before anything heavy is imported or read."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.config import Frozen, validate
from modelyard.contract import Contract
from modelyard.errors import ConfigError, did_you_mean
from modelyard.training.experiment import Experiment
from modelyard.training.project import Project, find_project


def check_project(experiment: Experiment) -> tuple[Project, Frozen]:
    """The project of `experiment`, and the `fit` section as its typed model.

    Raises:
        ConfigError: there is no such project, a key is not there, or it cannot do what is asked.
    """
    project = find_project(experiment.project)
    fit_config = validate(project.fit_config, experiment.fit, "fit")
    check_features(project.contract, experiment.evaluation.slices or ())
    if experiment.stream is not None and project.fit_stream is None:
        raise ConfigError(
            f"stream: the project {experiment.project} cannot fit rows that are not in memory: its "
            "PROJECT has no fit_stream.",
            fix="Leave the stream section out, or give the project one: docs/your-own-model.md",
        )
    return project, fit_config


def check_features(contract: Contract, names: Iterable[str]) -> None:
    """Raise ConfigError when one of `names` is no feature of the contract."""
    for name in names:
        if name not in contract.names:
            raise ConfigError(
                f'evaluation.slices: "{name}" is no feature.{did_you_mean(name, contract.names)}'
            )
