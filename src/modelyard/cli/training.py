"""`modelyard train`, `modelyard tune` and `modelyard dataset`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.settings import TrainingSettings, read_settings

if TYPE_CHECKING:
    from modelyard.training.experiment import Experiment
    from modelyard.training.resolution import ResolvedExperiment


class Job(StrEnum):
    """What `--job` takes: the commands that have a configuration of their own."""

    TRAIN = "train"
    TUNE = "tune"


class PromoteMode(StrEnum):
    """What `--promote` takes."""

    AUTO = "auto"
    MANUAL = "manual"
    NEVER = "never"


ConfigOption = Annotated[Path, typer.Option(help="The experiment's YAML file.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key; repeatable.")
]
ResumeOption = Annotated[
    bool,
    typer.Option(help="Resume the newest interrupted run of this experiment, if there is one."),
]
ProcessesOption = Annotated[
    int, typer.Option(min=1, help="Processes that fit one network together, one for each GPU.")
]
PromoteOption = Annotated[
    PromoteMode | None,
    typer.Option(
        help="auto: the alias moves if the gate passes; manual: you promote; never: a trial. "
        "The configuration's `promote` by default."
    ),
]
OwnDataOption = Annotated[
    Path | None, typer.Option("--from", help="Your own file, or its folder; else the demo data.")
]
OutputOption = Annotated[
    Path | None, typer.Option(help="File for the best one; in TRAINING_STATE_DIR/tuned by default.")
]
_REFERENCE = Path("configs/train.yaml")
_SEARCH = Path("configs/tune.yaml")
_ANY_OPTION = {
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "help_option_names": [],  # --help is for the command that follows
}


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(train)
    app.command()(tune)
    app.command()(dataset)
    app.command(hidden=True, context_settings=_ANY_OPTION)(dataset_name)


def train(
    config: ConfigOption = _REFERENCE,
    assignments: SetOption = None,
    resume: ResumeOption = False,
    processes: ProcessesOption = 1,
    promote: PromoteOption = None,
) -> None:
    """Train a model, register it, and move the alias to it if the gate lets it pass.

    A version that the gate refuses is registered with its verdict: that is a finished training,
    exit code 0.
    """
    experiment = _read(config, assignments, promote)
    settings = read_settings(TrainingSettings)
    resolved = _resolve(experiment, config)
    from modelyard.training.fit.ranks import joined_ranks
    from modelyard.training.pipeline import assist, run_training

    with joined_ranks() as ranks:
        if processes > 1 and ranks.count == 1:
            _start_ranks(processes)
        elif ranks.index > 0:
            assist(resolved, settings, Path.cwd())
        else:
            run_training(resolved, settings, Path.cwd(), typer.echo, resume=resume)


def tune(
    trials: Annotated[int, typer.Option(min=1, help="How many variations to try, in all.")],
    config: ConfigOption = _SEARCH,
    assignments: SetOption = None,
    output: OutputOption = None,
    resume: Annotated[
        bool,
        typer.Option(help="Resume the newest interrupted search of this kind, if there is one."),
    ] = False,
) -> None:
    """Try variations of an experiment and write the best one as a configuration."""
    experiment = _read(config, assignments)
    settings = read_settings(TrainingSettings)
    resolved = _resolve(experiment, config)
    from modelyard.training.tune.tuning import run_search

    target = output or settings.training_state_dir / "tuned" / config.name
    run_search(
        resolved, settings, Path.cwd(), typer.echo, trials=trials, output=target, resume=resume
    )


def dataset(
    config: ConfigOption = _REFERENCE, assignments: SetOption = None, source: OwnDataOption = None
) -> None:
    """Put the dataset into the store: one of your own, or the project's demo data."""
    experiment = _read(config, assignments)
    folder = read_settings(TrainingSettings).modelyard_data_dir
    from modelyard.training.data.dvc import push_data, push_demo_data
    from modelyard.training.experiment import is_in_store
    from modelyard.training.project import find_project

    if is_in_store(experiment.data):
        typer.echo(f"{experiment.data} is already in a store: nothing to do.")
        return
    if source is not None:
        push_data(source, folder, experiment.data, typer.echo)
        return
    push_demo_data(find_project(experiment.project), folder, experiment.data, typer.echo)


def dataset_name(
    config: Annotated[Path | None, typer.Option()] = None,
    assignments: SetOption = None,
    job: Annotated[Job, typer.Option()] = Job.TRAIN,
) -> None:
    """Print which dataset a job with these options needs; its other options are ignored."""
    typer.echo(_read(config or (_SEARCH if job is Job.TUNE else _REFERENCE), assignments).data)


def _read(
    config: Path, assignments: Sequence[str] | None, promote: PromoteMode | None = None
) -> Experiment:
    """The experiment; a mistake in it is reported before anything heavy is imported."""
    from modelyard.training.experiment import read_experiment

    chosen = [] if promote is None else [f"promote={promote.value}"]
    return read_experiment(config, [*(assignments or ()), *chosen])


def _resolve(experiment: Experiment, config: Path) -> ResolvedExperiment:
    """The experiment with its project; a mistake is reported before MLflow is imported."""
    from modelyard.training.resolution import resolve

    return resolve(experiment, str(config))


def _start_ranks(processes: int) -> None:
    """Become torchrun, which starts this very command once for each rank."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launch, "-m", "modelyard.cli.main", *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - our own words, no shell
