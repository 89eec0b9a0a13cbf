"""`modelyard train`, from top to bottom."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from modelyard.config import dump_yaml
from modelyard.errors import TrainingError
from modelyard.profile import profile_text
from modelyard.program import Echo
from modelyard.provenance import package_list
from modelyard.registry import RegistryClient
from modelyard.registry.manifest import DIGEST_TAG
from modelyard.settings import TrainingSettings
from modelyard.training.data.objects import OBJECTS_FILE
from modelyard.training.fit.checkpoint import find_interrupted_run, kept_checkpoints
from modelyard.training.fit.display import epoch_line, fit_display
from modelyard.training.fit.run_folder import to_resume
from modelyard.training.judge.gate import FILE_NAME as GATE_FILE
from modelyard.training.judge.gate import NOT_JUDGED, Gate
from modelyard.training.judge.handover import hand_over
from modelyard.training.judge.report.evaluation import (
    BASELINE,
    BEST,
    Evaluation,
    evaluate_model,
    hold_out,
)
from modelyard.training.judge.report.page import page
from modelyard.training.package.export import export_model
from modelyard.training.preparation import Prepared, prepare
from modelyard.training.project import Checkpoints, FitContext, Predictor
from modelyard.training.resolution import ResolvedExperiment
from modelyard.training.tracking.run import TrackedRun


def run_training(
    resolved: ResolvedExperiment,
    settings: TrainingSettings,
    root: Path,
    echo: Echo,
    *,
    resume: bool = False,
) -> None:
    """Train, register and promote one model version.

    Args:
        root: the checkout or the image's folder, asked for its commit.
        echo: shows each step, a line at a time.
        resume: go on with the newest interrupted run of the same code, data and configuration.

    Raises:
        ModelyardError: nothing was registered, unless the error says so.
    """
    experiment, project, contract = resolved.experiment, resolved.project, resolved.project.contract
    name = experiment.registered_model
    with RegistryClient.of(settings) as registry:
        with _full_disk_explained():
            prepared = prepare(resolved, settings, root, echo)
            split = prepared.split
            registry.aliases(name)  # a registry that is away stops hours of work before they begin
            with _started_run(prepared, settings, echo, resume=resume) as (run, checkpoints):
                model = _fit(prepared, run, checkpoints, echo)
                baseline = project.baseline(split.train, experiment.seed)

                test = hold_out(project, split.test, model)
                others = {BASELINE: baseline.predict(test.columns)}
                if project.best_scores is not None:
                    others[BEST] = project.best_scores(split.test)
                evaluation = evaluate_model(
                    contract,
                    hold_out(project, split.validation, model),
                    test,
                    others,
                    experiment.evaluation,
                    experiment.seed,
                )
                _report(prepared, evaluation, run, echo)

                export = export_model(model, contract, test.columns, test.predicted)
                run.log_metrics({"onnx_max_difference": export.difference})
                echo(f"package   {export.sentence()}")
                profile = profile_text(contract, project.columns(split.train), test.predicted)

                gate = Gate(
                    experiment.gate,
                    name,
                    experiment.alias,
                    split.test,
                    project.target,
                    others[BASELINE],
                    experiment.evaluation.slices,
                )
                verdict = NOT_JUDGED
                with run.new_model(name, export.format) as model_id, _new_folder() as folder:
                    ids = {"run_id": run.run_id, "model_id": model_id}
                    digest = export.write(folder, contract, **ids, profile=profile)
                    run.upload_model(model_id, folder)
                    if experiment.promote != "never":
                        verdict = gate.judge(registry, folder)
                        run.log_text(verdict.to_json(), GATE_FILE)
                        echo(f"gate      {verdict.sentence()}")

                version = run.register(
                    name,
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
                echo(f"version   {name} {version} registered")
        if experiment.promote == "auto":
            hand_over(registry, gate, version, verdict, settings.modelyard_user, echo)


def assist(resolved: ResolvedExperiment, settings: TrainingSettings, root: Path) -> None:
    """Fit the same model as rank 0 does, from the same data, and leave the rest to it."""
    prepared = prepare(resolved, settings, root, lambda _: None)
    prepared.fit(resolved.fit_config, FitContext(resolved.experiment.seed))


@contextmanager
def _started_run(
    prepared: Prepared, settings: TrainingSettings, echo: Echo, *, resume: bool
) -> Iterator[tuple[TrackedRun, Checkpoints | None]]:
    """The run in MLflow, with what led to it on record, and the checkpoints of its fit."""

    def warn(line: str) -> None:
        echo(f"warning   {line}")

    state_dir, experiment = settings.training_state_dir, prepared.experiment.experiment
    earlier = to_resume(find_interrupted_run(state_dir, prepared.key), "run", echo, resume=resume)
    if earlier is not None:
        echo(f"resume    run {earlier.run_id}, after epoch {earlier.epoch}")
    with (
        TrackedRun.of(settings, experiment, prepared.tags, warn) as run,
        kept_checkpoints(state_dir, prepared.key, run.run_id, earlier, warn) as checkpoints,
    ):
        if earlier is not None:
            run.take_over(earlier.run_id)
        echo(f'run       "{run.name}" ({run.run_id}) in experiment "{experiment}"')
        config = prepared.resolved.config
        run.log_text(dump_yaml(config), "config.yaml")  # proves that the store takes files
        run.log_text(package_list(), "packages.txt")
        run.log_params(config)
        if prepared.stored is not None:
            run.log_text(prepared.stored.to_json(), OBJECTS_FILE)
        yield run, checkpoints


def _fit(
    prepared: Prepared, run: TrackedRun, checkpoints: Checkpoints | None, echo: Echo
) -> Predictor:
    """The fitted model; each epoch is shown in MLflow and on the terminal."""

    def report(epoch: int, metrics: Mapping[str, float]) -> None:
        run.log_epoch(epoch, metrics)
        echo(epoch_line(epoch, metrics))

    with fit_display(Console()) as show:
        context = FitContext(prepared.experiment.seed, report, show, checkpoints)
        return prepared.fit(prepared.resolved.fit_config, context)


def _report(prepared: Prepared, evaluation: Evaluation, run: TrackedRun, echo: Echo) -> None:
    """Show the result, and store the numbers, the pictures and the page with the run."""
    echo(f"{evaluation.primary:9s} {evaluation.sentence()}")
    echo(f"          {evaluation.against_baseline()}")
    run.log_metrics(evaluation.metrics)
    title = f"{prepared.experiment.registered_model}: training report"
    description = prepared.project.contract.description
    facts = {"run": f"{run.name} ({run.run_id})", **prepared.tags}
    html = page(title, description, evaluation, facts, prepared.resolved.config)
    with _new_folder() as folder:
        evaluation.write(folder)
        (folder / "report.html").write_text(html, encoding="utf-8")
        run.log_files(folder)


@contextmanager
def _full_disk_explained() -> Iterator[None]:
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
def _new_folder() -> Iterator[Path]:
    """The path of a folder that is removed afterwards; MLflow insists on making it itself."""
    with tempfile.TemporaryDirectory(prefix="modelyard-") as parent:
        yield Path(parent) / "model"
