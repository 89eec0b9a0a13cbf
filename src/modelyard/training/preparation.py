"""Before the first epoch: where code and data come from, and data that keeps its contract."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.config import Frozen
from modelyard.errors import DataError
from modelyard.program import Echo
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
from modelyard.training.fit.ranks import current_ranks
from modelyard.training.project import FitContext, Predictor, Project, Split, StreamedSplit
from modelyard.training.resolution import ResolvedExperiment

_KEY_FORMAT = 1
_FITTED_BY = ("project", "data", "stream", "sample_rows", "seed", "fit")
"""The keys of a configuration that decide the weights; others may change before a resume."""


def experiment_key(what: Mapping[str, Any], data_md5: str, commit: str) -> str:
    """Name of all runs that do the same: `what` as plain values, with the same data and code."""
    text = json.dumps([_KEY_FORMAT, what, data_md5, commit], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Prepared:
    """An experiment that may begin.

    Attributes:
        tags: provenance, as tags of the run.
        split: the rows; with a `stream`, bounded samples of them.
        stored: the objects of a dataset in a store.
    """

    resolved: ResolvedExperiment
    data: DataVersion
    code: CodeVersion
    tags: Mapping[str, str]
    split: Split
    stream: StreamedSplit | None = None
    stored: StoredDataset | None = None

    @property
    def experiment(self) -> Experiment:
        """The experiment, with every default filled in."""
        return self.resolved.experiment

    @property
    def project(self) -> Project:
        """The experiment's project."""
        return self.resolved.project

    @property
    def key(self) -> str:
        """Name of all runs that would fit the same model."""
        config = self.resolved.config
        fitted_by = {name: config.get(name) for name in _FITTED_BY}
        return experiment_key(fitted_by, self.data.md5, self.code.commit)

    def fit(self, config: Frozen, context: FitContext) -> Predictor:
        """Fit the project's model, from memory or from the stream.

        Args:
            config: a `fit` section of the project's own type.

        Raises:
            DataError: the data cannot be read, or changed while they were read.
        """
        try:
            if self.stream is None or self.project.fit_stream is None:
                model = self.project.fit(self.split, config, context)
            else:
                model = self.project.fit_stream(self.stream, config, context)
        except Exception:
            self._require_same_data()  # if they changed, that is the cause
            raise
        self._require_same_data()
        return model

    def _require_same_data(self) -> None:
        """Raise DataError when objects in the store changed since they were checked."""
        if self.stored is None:
            return
        if changed := find_objects(self.stored.uri).changed_since(self.stored):
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            raise DataError(
                f"The data changed while the model was fitted: {changed[0]}{more} at "
                f"{self.stored.uri}. It is not known which rows the model has learned from.",
                fix="Nothing was registered. Write new data under a new prefix, and train again.",
            )


def prepare(
    resolved: ResolvedExperiment, settings: TrainingSettings, root: Path, echo: Echo
) -> Prepared:
    """Read and check everything that a fit depends on.

    Args:
        root: the checkout or the image's folder, asked for its commit.

    Raises:
        ConfigError: the project's split cannot divide a stream.
        DataError: the dataset is not the one that the pointer names, or breaks the contract.
    """
    experiment = resolved.experiment
    stored = find_objects(experiment.data) if is_in_store(experiment.data) else None
    if stored is None:
        data = read_data_version(settings.modelyard_data_dir, experiment.data)
    else:
        data = DataVersion(Path(), stored.md5, stored.size_bytes, stored.uri)
    code = read_code_version(root, settings.git_commit)
    objects = "" if stored is None else f" of the list of its {len(stored.objects)} objects"
    echo(f"data      {data.name}, md5{objects} {data.md5}")
    if code.commit == UNKNOWN:
        echo("code      commit unknown: not a checkout, and no GIT_COMMIT; `make train` records it")
    else:
        changes = ", with local changes" if code.dirty else ""
        echo(f"code      commit {code.commit[:12]}{changes}")
    stream: StreamedSplit | None = None
    if experiment.stream is None:
        split = _read_split(resolved, data.path, echo)
    else:
        uri, names = (str(data.path), None) if stored is None else (stored.uri, stored.paths)
        files = ParquetFiles(uri, names, experiment.sample_rows)
        folder = settings.training_state_dir
        stream = scan(files, resolved.project, experiment.stream, folder, experiment.seed, echo)
        split = stream.sample
    rows = {name: len(getattr(split, name)) for name in PARTS}
    tags = {
        **run_tags(code, data, settings.image_ref, experiment.seed),
        PROCESSES_TAG: str(current_ranks().count),
        **{f"data.rows.{name}": str(count) for name, count in rows.items()},
    }
    if stream is not None:
        tags |= {f"data.rows.{name}": str(count) for name, count in stream.rows.items()}
        tags |= {f"data.sampled.{name}": str(count) for name, count in rows.items()}
    if stored is not None:
        tags["data.objects"] = str(len(stored.objects))
    tags |= settings.mlflow_run_context
    return Prepared(resolved, data, code, tags, split, stream, stored)


def _read_split(resolved: ResolvedExperiment, path: Path, echo: Echo) -> Split:
    """The rows of the file at `path`, all in memory, checked and divided."""
    project, limit = resolved.project, resolved.experiment.sample_rows
    data = project.load(path)
    if limit is not None:
        data = data.head(limit)
    validate_data(data, project.contract, project.target, project.rules)
    split = project.split(data)
    validate_split(split, len(data), project.contract, project.target, project.rules)
    echo(
        f"rows      {len(split.train):,} to train, {len(split.validation):,} to validate, "
        f"{len(split.test):,} to test"
    )
    seen = seen_categories(project.contract, split.train)
    for line in unseen_categories(project.contract, seen):
        echo(f"warning   {line}")
    return split
