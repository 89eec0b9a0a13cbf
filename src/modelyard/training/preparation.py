"""Before the first epoch: configuration, provenance, and data that keeps its contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.config import Frozen
from modelyard.errors import DataError
from modelyard.provenance import (
    PROCESSES_TAG,
    UNKNOWN,
    CodeVersion,
    DataVersion,
    read_code_version,
    read_data_version,
    run_tags,
)
from modelyard.settings import TrainingSettings
from modelyard.training.check import check_project
from modelyard.training.data.objects import StoredDataset, find_objects
from modelyard.training.data.parquet import ParquetFiles
from modelyard.training.data.scan import scan
from modelyard.training.data.validate import (
    PARTS,
    seen_categories,
    unseen_categories,
    validate_data,
    validate_split,
)
from modelyard.training.experiment import Experiment, is_in_store
from modelyard.training.fit.checkpoint import experiment_key
from modelyard.training.fit.ranks import current_ranks
from modelyard.training.project import (
    FitContext,
    Predictor,
    Project,
    Split,
    StreamedSplit,
)

Say = Callable[[str], None]

_FITTED_BY = ("project", "data", "stream", "sample_rows", "seed", "fit")
"""What of a configuration decides the fitted weights; the rest may change before a resume."""


@dataclass(frozen=True)
class Prepared:
    """An experiment that may begin.

    Attributes:
        experiment: with every default of `fit` filled in.
        tags: provenance, as tags of the run.
        split: the rows; bounded samples of them where there is a `stream`.
        stored: what the data consist of, where they are in a store.
    """

    experiment: Experiment
    project: Project
    fit_config: Frozen
    data: DataVersion
    code: CodeVersion
    tags: Mapping[str, str]
    split: Split
    stream: StreamedSplit | None = None
    stored: StoredDataset | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved configuration of a training, plain values."""
        return self.experiment.model_dump(mode="json", exclude_none=True, exclude={"tune"})

    @property
    def key(self) -> str:
        """Name of all runs that would fit the same model."""
        fit = {name: self.config.get(name) for name in _FITTED_BY}
        return experiment_key(fit, self.data.md5, self.code.commit)

    def fit(self, config: Frozen, context: FitContext) -> Predictor:
        """Fit the project's model, from memory or from the stream.

        Raises:
            DataError: the data cannot be read, or changed while they were read.
        """
        try:
            model = self._fit(config, context)
        except Exception:
            self._require_same_data()  # which would be the cause of whatever failed
            raise
        self._require_same_data()
        return model

    def _fit(self, config: Frozen, context: FitContext) -> Predictor:
        if self.stream is None or self.project.fit_stream is None:
            return self.project.fit(self.split, config, context)
        return self.project.fit_stream(self.stream, config, context)

    def _require_same_data(self) -> None:
        """Raise DataError when objects in the store are not those that were checked any more."""
        if self.stored is None:
            return
        if changed := find_objects(self.stored.uri).changed_since(self.stored):
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise DataError(
                f"The data changed while the model was fitted: {changed[0]}{more} at "
                f"{self.stored.uri}. Which rows it has learned from is not known.",
                fix="Nothing was registered. Write new data under a new prefix, and train again.",
            )


def prepare(experiment: Experiment, settings: TrainingSettings, root: Path, say: Say) -> Prepared:
    """Read and check everything that a fit depends on.

    Args:
        root: the checkout or the image's folder, asked for its commit.

    Raises:
        ConfigError: the project, or a key of its configuration, is not there.
        DataError: the dataset is not the one that the pointer names, or breaks the contract.
    """
    project, fit_config = check_project(experiment)
    stored = find_objects(experiment.data) if is_in_store(experiment.data) else None
    if stored is None:
        data = read_data_version(settings.modelyard_data_dir, experiment.data)
    else:
        data = DataVersion(Path(), stored.md5, stored.size_bytes, stored.uri)
    code = read_code_version(root, settings.git_commit)
    objects = "" if stored is None else f" of the list of its {len(stored.objects)} objects"
    say(f"data      {data.name}, md5{objects} {data.md5}")
    say(f"code      {_said(code)}")
    split, stream = _read(project, experiment, data, stored, settings, say)
    return Prepared(
        experiment=experiment.model_copy(update={"fit": fit_config.model_dump(mode="json")}),
        project=project,
        fit_config=fit_config,
        data=data,
        code=code,
        tags={
            **run_tags(code, data, settings.image_ref, experiment.seed),
            **_data_tags(split, stream, stored),
            PROCESSES_TAG: str(current_ranks().count),
            **settings.mlflow_run_context,
        },
        split=split,
        stream=stream,
        stored=stored,
    )


def _said(code: CodeVersion) -> str:
    """The code's version in words; without one, what would have recorded it."""
    if code.commit == UNKNOWN:
        return "commit unknown: not a checkout, and no GIT_COMMIT; `make train` records it"
    return f"commit {code.commit[:12]}{', with local changes' if code.dirty else ''}"


def _read(
    project: Project,
    experiment: Experiment,
    data: DataVersion,
    stored: StoredDataset | None,
    settings: TrainingSettings,
    say: Say,
) -> tuple[Split, StreamedSplit | None]:
    if experiment.stream is None:
        return _load(project, experiment, data.path, say), None
    uri, names = (str(data.path), None) if stored is None else (stored.uri, stored.paths)
    files = ParquetFiles(uri, names, experiment.sample_rows)
    folder = settings.training_state_dir
    stream = scan(files, project, experiment.stream, folder, experiment.seed, say)
    return stream.sample, stream


def _load(project: Project, experiment: Experiment, path: Path, say: Say) -> Split:
    data = project.load(path)
    if experiment.sample_rows is not None:
        data = data.head(experiment.sample_rows)
    validate_data(data, project.contract, project.target, project.rules)
    split = project.split(data)
    validate_split(split, len(data), project.contract, project.target, project.rules)
    say(
        f"rows      {len(split.train):,} to train, {len(split.validation):,} to validate, "
        f"{len(split.test):,} to test"
    )
    seen = seen_categories(project.contract, split.train)
    for line in unseen_categories(project.contract, seen):
        say(f"warning   {line}")
    return split


def _data_tags(
    split: Split, stream: StreamedSplit | None, stored: StoredDataset | None
) -> Mapping[str, str]:
    """How many rows were learned from and judged by, and what a stored dataset consists of."""
    rows = {name: len(getattr(split, name)) for name in PARTS}
    tags = {f"data.rows.{name}": str(count) for name, count in rows.items()}
    if stream is not None:
        tags |= {f"data.rows.{name}": str(count) for name, count in stream.rows.items()}
        tags |= {f"data.sampled.{name}": str(count) for name, count in rows.items()}
    if stored is not None:
        tags["data.objects"] = str(len(stored.objects))
    return tags
