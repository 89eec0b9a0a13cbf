"""`modelyard train`, from top to bottom."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelyard.config import dump_yaml, validate
from modelyard.errors import RegistryError
from modelyard.provenance import (
    DataVersion,
    package_list,
    read_code_version,
    read_data_version,
    run_tags,
)
from modelyard.registry import RegistryClient
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.registry.promotion import promote
from modelyard.settings import TrainingSettings
from modelyard.training.evaluate import PRIMARY_METRIC, evaluate
from modelyard.training.experiment import Experiment
from modelyard.training.package import check_parity, write_package
from modelyard.training.project import Project, Split, find_project
from modelyard.training.tracking import TrackedRun
from modelyard.training.validate import validate_data

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trained:
    """What a training run left behind."""

    run_id: str
    model: str
    version: str
    promoted: bool
    metrics: Mapping[str, float]


def train(experiment: Experiment, settings: TrainingSettings, root: Path, say: Say) -> Trained:
    """Train, register and promote one model version.

    Args:
        root: the checkout or the image's folder, asked for its commit.
        say: told each step, a line at a time.

    Raises:
        ModelyardError: nothing was registered, unless the error says so.
    """
    project = find_project(experiment.project)
    fit_config = validate(project.fit_config, experiment.fit, "fit")
    with RegistryClient(settings.mlflow_tracking_uri, settings.registry_timeout_s) as registry:
        registry.aliases(experiment.registered_model)  # asked before hours of work, not after
    data_version = read_data_version(settings.modelyard_data_dir, experiment.data)
    code = read_code_version(root, settings.git_commit)
    say(f"data      {data_version.path.name}, md5 {data_version.md5}")
    say(f"code      commit {code.commit[:12]}{', with local changes' if code.dirty else ''}")

    split = _load(project, experiment, data_version, say)
    resolved = experiment.model_copy(update={"fit": fit_config.model_dump(mode="json")})
    config = resolved.model_dump(mode="json", exclude_none=True)
    tags = run_tags(code, data_version, settings.image_ref, experiment.seed)
    with TrackedRun(
        settings.mlflow_tracking_uri, experiment.experiment, settings.modelyard_user, tags
    ) as run:
        say(f'run       "{run.name}" ({run.run_id}) in experiment "{experiment.experiment}"')
        run.log_text(dump_yaml(config), "config.yaml")  # also proves that the store takes files
        run.log_text(package_list(), "packages.txt")
        run.log_params(config)

        def report(epoch: int, metrics: Mapping[str, float]) -> None:
            run.log_metrics(metrics, step=epoch)
            say(f"epoch {epoch:3d} " + "  ".join(f"{k} {v:.5f}" for k, v in metrics.items()))

        model = project.fit(split, fit_config, experiment.seed, report)
        baseline = project.baseline(split.train, experiment.seed)

        columns, truth = project.columns(split.test), split.test[project.target].to_numpy()
        predicted = model.predict(columns)
        graph = model.to_onnx()
        parity = check_parity(graph, project.contract, columns, predicted)
        scores = _scores(project, split, truth, predicted, baseline.predict(columns))
        run.log_metrics({**scores, "onnx_max_difference": parity})
        _say_scores(project, scores, say)

        with run.new_model(experiment.registered_model) as model_id, _folder() as folder:
            digest = write_package(
                folder, graph, project.contract, run_id=run.run_id, model_id=model_id
            )
            run.upload_model(model_id, folder)
        version = run.register(
            experiment.registered_model,
            model_id,
            {
                DIGEST_TAG: digest,
                "git.commit": tags["git.commit"],
                "git.dirty": tags["git.dirty"],
                "data.md5": data_version.md5,
            },
        )
        say(f"version   {experiment.registered_model} {version} registered")
    promoted = experiment.promote == "auto" and _promote(experiment, settings, version, say)
    return Trained(run.run_id, experiment.registered_model, version, promoted, scores)


def _load(project: Project, experiment: Experiment, version: DataVersion, say: Say) -> Split:
    data = project.load(version.path)
    if experiment.sample_rows is not None:
        data = data.head(experiment.sample_rows)
    validate_data(data, project.contract, project.target)
    split = project.split(data)
    say(
        f"rows      {len(split.train):,} to train, {len(split.validation):,} to validate, "
        f"{len(split.test):,} to test"
    )
    return split


def _scores(
    project: Project,
    split: Split,
    truth: np.ndarray,
    predicted: np.ndarray,
    baseline: np.ndarray,
) -> Mapping[str, float]:
    """Scores on the test rows: the model's, the baseline's, and the best reachable ones."""
    output = project.contract.output
    scored = {"test": predicted, "baseline": baseline}
    if project.best_scores is not None:
        scored["best"] = project.best_scores(split.test)
    return {
        f"{who}_{metric}": value
        for who, values in scored.items()
        for metric, value in evaluate(output, truth, values).items()
    }


def _say_scores(project: Project, scores: Mapping[str, float], say: Say) -> None:
    metric = PRIMARY_METRIC[project.contract.output.kind]
    line = (
        f"{metric:9s} {scores[f'test_{metric}']:.4f}, baseline {scores[f'baseline_{metric}']:.4f}"
    )
    if (best := scores.get(f"best_{metric}")) is not None:
        line += f", best reachable {best:.4f}"
    say(line)


def _promote(experiment: Experiment, settings: TrainingSettings, version: str, say: Say) -> bool:
    name, alias = experiment.registered_model, experiment.alias
    try:
        with RegistryClient(settings.mlflow_tracking_uri, settings.registry_timeout_s) as registry:
            moved = promote(
                registry,
                name,
                alias,
                version,
                who=settings.modelyard_user,
                why="trained with promote: auto",
            )
    except RegistryError as error:
        raise RegistryError(
            f"{name} version {version} is registered, but {alias} could not be moved to it: "
            f"{error.detail}",
            fix=f"Try again: modelyard promote {version} --why …",
        ) from error
    say(f"alias     {name}@{alias} is version {version} now")
    return moved is not None


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the package that is gone afterwards; MLflow insists on making it itself."""
    with tempfile.TemporaryDirectory(prefix="modelyard-") as parent:
        yield Path(parent) / "model"
