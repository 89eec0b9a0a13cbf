"""`modelyard train`, from top to bottom."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.console import Console

from modelyard.config import dump_yaml
from modelyard.errors import TrainingError
from modelyard.profile import write_profile
from modelyard.provenance import package_list
from modelyard.registry import RegistryClient
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.settings import TrainingSettings
from modelyard.training.data.objects import OBJECTS_FILE
from modelyard.training.experiment import Experiment
from modelyard.training.fit.checkpoint import Interrupted, find_interrupted, kept_checkpoints
from modelyard.training.fit.display import epoch_line, fit_display
from modelyard.training.judge.gate import FILE_NAME as GATE_FILE
from modelyard.training.judge.gate import NOT_JUDGED, Gate, Verdict
from modelyard.training.judge.handover import hand_over
from modelyard.training.judge.report.evaluation import (
    BASELINE,
    BEST,
    Evaluation,
    Held,
    evaluate_model,
)
from modelyard.training.judge.report.page import page
from modelyard.training.package.export import export_model
from modelyard.training.patience import Patience
from modelyard.training.preparation import Prepared, Say, prepare
from modelyard.training.project import (
    Checkpoints,
    FitContext,
    Predictor,
    Project,
)
from modelyard.training.tracking import TrackedRun


@dataclass(frozen=True)
class Trained:
    """What a training run left behind."""

    run_id: str
    model: str
    version: str
    promoted: bool
    metrics: Mapping[str, float]


def train(
    experiment: Experiment,
    settings: TrainingSettings,
    root: Path,
    say: Say,
    *,
    resume: bool = False,
) -> Trained:
    """Train, register and promote one model version.

    Args:
        root: the checkout or the image's folder, asked for its commit.
        say: told each step, a line at a time.
        resume: go on with the newest interrupted run of the same code, data and configuration.

    Raises:
        ModelyardError: nothing was registered, unless the error says so.
    """
    with _full_disk_said():
        prepared = prepare(experiment, settings, root, say)
    with RegistryClient.of(settings) as registry:
        registry.aliases(experiment.registered_model)  # asked before hours of work, not after
    state_dir = settings.training_state_dir
    earlier = _find_earlier(state_dir, prepared.key, say, resume=resume)

    def warn(line: str) -> None:
        say(f"warning   {line}")

    with (
        TrackedRun(
            settings.mlflow_tracking_uri,
            experiment.experiment,
            settings.modelyard_user,
            prepared.tags,
            Patience(settings.tracking_patience_s, warn),
        ) as run,
        kept_checkpoints(state_dir, prepared.key, run.run_id, earlier, warn) as checkpoints,
        _full_disk_said(),
    ):
        if earlier is not None:
            run.take_over(earlier.run_id)
        say(f'run       "{run.name}" ({run.run_id}) in experiment "{experiment.experiment}"')
        run.log_text(dump_yaml(prepared.config), "config.yaml")  # proves that the store takes files
        run.log_text(package_list(), "packages.txt")
        run.log_params(prepared.config)
        if prepared.stored is not None:
            run.log_text(prepared.stored.to_json(), OBJECTS_FILE)

        model = _fit(prepared, run, checkpoints, say)
        project, split = prepared.project, prepared.split
        baseline = project.baseline(split.train, experiment.seed)
        test = _held(project, split.test, model)
        export = export_model(model, project.contract, test.columns, test.predicted)
        evaluation = _evaluate(prepared, test, model, baseline)
        run.log_metrics({**evaluation.metrics, "onnx_max_difference": export.difference})
        _report(prepared, evaluation, run, say)

        gate = Gate(
            experiment.gate,
            experiment.registered_model,
            experiment.alias,
            split.test,
            project.target,
            baseline.predict(test.columns),
            experiment.evaluation.slices,
        )
        profile = write_profile(project.contract, project.columns(split.train), test.predicted)
        say(f"package   {export.sentence()}")
        name = experiment.registered_model
        with run.new_model(name, export.format) as model_id, _folder() as folder:
            digest = export.write(
                folder, project.contract, run_id=run.run_id, model_id=model_id, profile=profile
            )
            run.upload_model(model_id, folder)
            verdict = _judge(gate, experiment, settings, folder, run, say)
        version = run.register(
            experiment.registered_model,
            model_id,
            {
                DIGEST_TAG: digest,
                "model.format": export.format,
                "git.commit": prepared.tags["git.commit"],
                "git.dirty": prepared.tags["git.dirty"],
                "data.md5": prepared.data.md5,
                **verdict.tags(),
            },
        )
        say(f"version   {experiment.registered_model} {version} registered")
    promoted = experiment.promote == "auto" and _hand_over(gate, verdict, settings, version, say)
    return Trained(run.run_id, experiment.registered_model, version, promoted, evaluation.scores)


def assist(experiment: Experiment, settings: TrainingSettings, root: Path) -> None:
    """Fit the same model as rank 0 does, from the same data, and leave the rest to it."""
    prepared = prepare(experiment, settings, root, lambda _: None)
    prepared.fit(prepared.fit_config, FitContext(experiment.seed))


def _find_earlier(state_dir: Path, key: str, say: Say, *, resume: bool) -> Interrupted | None:
    earlier = find_interrupted(state_dir, key)
    if earlier is None:
        if resume:
            say("resume    no interrupted run of this experiment is there: starting anew")
        return None
    if not resume:
        say(f"note      an interrupted run is at epoch {earlier.epoch}: --resume goes on with it")
        earlier.release()
        return None
    say(f"resume    run {earlier.run_id}, after epoch {earlier.epoch}")
    return earlier


def _fit(
    prepared: Prepared, run: TrackedRun, checkpoints: Checkpoints | None, say: Say
) -> Predictor:
    def report(epoch: int, metrics: Mapping[str, float]) -> None:
        run.log_epoch(epoch, metrics)
        say(epoch_line(epoch, metrics))

    with fit_display(Console()) as show:
        context = FitContext(prepared.experiment.seed, report, show, checkpoints)
        return prepared.fit(prepared.fit_config, context)


def _report(prepared: Prepared, evaluation: Evaluation, run: TrackedRun, say: Say) -> None:
    """Say the result, and store the page, the pictures and the numbers with the run."""
    say(f"{evaluation.primary:9s} {evaluation.sentence()}")
    say(f"          {evaluation.against_baseline()}")
    facts = {"run": f"{run.name} ({run.run_id})", **prepared.tags}
    title = f"{prepared.experiment.registered_model}: training report"
    description = prepared.project.contract.description
    html = page(title, description, evaluation, facts, prepared.config)
    with _folder() as folder:
        evaluation.write(folder)
        (folder / "report.html").write_text(html, encoding="utf-8")
        run.log_files(folder)


def _held(project: Project, rows: pl.DataFrame, model: Predictor) -> Held:
    columns = project.columns(rows)
    return Held(columns, rows[project.target].to_numpy(), model.predict(columns))


def _evaluate(prepared: Prepared, test: Held, model: Predictor, baseline: Predictor) -> Evaluation:
    """What the test rows say of the model, beside the baseline and the best that is reachable."""
    project, split, experiment = prepared.project, prepared.split, prepared.experiment
    others = {BASELINE: baseline.predict(test.columns)}
    if project.best_scores is not None:
        others[BEST] = project.best_scores(split.test)
    validation = _held(project, split.validation, model)
    return evaluate_model(
        project.contract, validation, test, others, experiment.evaluation, experiment.seed
    )


def _judge(
    gate: Gate,
    experiment: Experiment,
    settings: TrainingSettings,
    candidate: Path,
    run: TrackedRun,
    say: Say,
) -> Verdict:
    if experiment.promote == "never":
        return NOT_JUDGED
    with RegistryClient.of(settings) as registry:
        verdict = gate.judge(registry, candidate)
    run.log_text(verdict.to_json(), GATE_FILE)
    say(f"gate      {verdict.sentence()}")
    return verdict


def _hand_over(
    gate: Gate, verdict: Verdict, settings: TrainingSettings, version: str, say: Say
) -> bool:
    with RegistryClient.of(settings) as registry:
        return hand_over(registry, gate, version, verdict, settings.modelyard_user, say)


@contextmanager
def _full_disk_said() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TrainingError(
            f"There is no room on the disk of {error.filename or tempfile.gettempdir()}: "
            "nothing was registered.",
            fix="Make room, or let TMPDIR name a larger folder; then go on where it stopped: "
            "modelyard train --resume",
        ) from error


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for the package that is gone afterwards; MLflow insists on making it itself."""
    with tempfile.TemporaryDirectory(prefix="modelyard-") as parent:
        yield Path(parent) / "model"
