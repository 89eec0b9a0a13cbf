"""Before the first epoch: configuration, provenance, and data that keeps its contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.config import Frozen, validate
from modelyard.provenance import (
    CodeVersion,
    DataVersion,
    read_code_version,
    read_data_version,
    run_tags,
)
from modelyard.settings import TrainingSettings
from modelyard.training.checkpoint import experiment_key
from modelyard.training.experiment import Experiment
from modelyard.training.project import Project, Split, find_project
from modelyard.training.report.slices import check_features
from modelyard.training.validate import unseen_categories, validate_data, validate_split

Say = Callable[[str], None]

_FITTED_BY = ("project", "data", "sample_rows", "seed", "fit")
"""What of a configuration decides the fitted weights; the rest may change before a resume."""


@dataclass(frozen=True)
class Prepared:
    """An experiment that may begin.

    Attributes:
        experiment: with every default of `fit` filled in.
        tags: provenance, as tags of the run.
    """

    experiment: Experiment
    project: Project
    fit_config: Frozen
    data: DataVersion
    code: CodeVersion
    tags: Mapping[str, str]
    split: Split

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration of a training, plain values."""
        return self.experiment.model_dump(mode="json", exclude_none=True, exclude={"tune"})

    @property
    def key(self) -> str:
        """Name of all runs that would fit the same model."""
        fit = {name: self.config.get(name) for name in _FITTED_BY}
        return experiment_key(fit, self.data.md5, self.code.commit)


def prepare(experiment: Experiment, settings: TrainingSettings, root: Path, say: Say) -> Prepared:
    """Read and check everything that a fit depends on.

    Args:
        root: the checkout or the image's folder, asked for its commit.

    Raises:
        ConfigError: the project, or a key of its configuration, is not there.
        DataError: the dataset is not the one that the pointer names, or breaks the contract.
    """
    project = find_project(experiment.project)
    fit_config = validate(project.fit_config, experiment.fit, "fit")
    check_features(project.contract, experiment.evaluation.slices or ())
    data = read_data_version(settings.modelyard_data_dir, experiment.data)
    code = read_code_version(root, settings.git_commit)
    say(f"data      {data.path.name}, md5 {data.md5}")
    say(f"code      commit {code.commit[:12]}{', with local changes' if code.dirty else ''}")
    return Prepared(
        experiment=experiment.model_copy(update={"fit": fit_config.model_dump(mode="json")}),
        project=project,
        fit_config=fit_config,
        data=data,
        code=code,
        tags={
            **run_tags(code, data, settings.image_ref, experiment.seed),
            **settings.mlflow_run_context,
        },
        split=_load(project, experiment, data.path, say),
    )


def _load(project: Project, experiment: Experiment, path: Path, say: Say) -> Split:
    data = project.load(path)
    if experiment.sample_rows is not None:
        data = data.head(experiment.sample_rows)
    validate_data(data, project.contract, project.target, project.rules)
    split = project.split(data)
    validate_split(split, project.contract, project.target, project.rules)
    say(
        f"rows      {len(split.train):,} to train, {len(split.validation):,} to validate, "
        f"{len(split.test):,} to test"
    )
    for line in unseen_categories(project.contract, split.train):
        say(f"warning   {line}")
    return split
