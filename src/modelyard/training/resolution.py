"""The way of a configuration: a file, then `--set`, then defaults; the environment has no say.

`read_experiment` reads the file, sets the keys of `--set` and checks what the platform knows.
`resolve` asks the project for the rest, once: its result is what is fitted and what runs record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.config import Frozen, validate
from modelyard.errors import ConfigError, did_you_mean
from modelyard.training.experiment import Experiment
from modelyard.training.project import Project, find_project


@dataclass(frozen=True)
class ResolvedExperiment:
    """An experiment that its project can carry out.

    Attributes:
        experiment: with every default of `fit` filled in.
        fit_config: the same `fit` section as the project's own type.
    """

    experiment: Experiment
    project: Project
    fit_config: Frozen

    @property
    def config(self) -> Mapping[str, Any]:
        """All keys of a training as plain values; a search records its `tune` section by itself."""
        return self.experiment.model_dump(mode="json", exclude_none=True, exclude={"tune"})


def resolve(experiment: Experiment, source: str) -> ResolvedExperiment:
    """Find the project and check what only a project can say of its experiment.

    Args:
        source: the file that the experiment was read from, for errors.

    Raises:
        ConfigError: there is no such project, or it does not take a key; file and key are named.
    """
    try:
        project = find_project(experiment.project)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error.detail}", fix=error.fix) from error
    fit_config = validate(project.fit_config, experiment.fit, source, section="fit")
    features = project.contract.names
    for name in experiment.evaluation.slices or ():
        if name not in features:
            hint = did_you_mean(name, features)
            raise ConfigError(f'{source}: evaluation.slices: "{name}" is no feature.{hint}')
    if experiment.stream is not None and project.fit_stream is None:
        raise ConfigError(
            f"{source}: stream: the project {experiment.project} cannot fit rows that are not in "
            "memory: its PROJECT has no fit_stream.",
            fix="Leave the stream section out, or give the project one: docs/your-own-model.md",
        )
    filled = experiment.model_copy(update={"fit": fit_config.model_dump(mode="json")})
    return ResolvedExperiment(filled, project, fit_config)
