"""`modelyard train` and `modelyard dataset`."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from modelyard.settings import TrainingSettings, read_settings


class PromoteMode(StrEnum):
    """What `--promote` takes."""

    AUTO = "auto"
    MANUAL = "manual"
    NEVER = "never"


Config = Annotated[Path, typer.Option(help="The experiment's YAML file.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key; repeatable.")
]
Resume = Annotated[
    bool, typer.Option(help="Go on with the newest interrupted run of this experiment, if any.")
]
Processes = Annotated[
    int, typer.Option(min=1, help="Processes that fit one network together, one for each GPU.")
]
Promote = Annotated[
    PromoteMode | None,
    typer.Option(
        help="auto: the alias moves if the gate passes; manual: you promote; never: a trial. "
        "The configuration's `promote` by default."
    ),
]
Source = Annotated[
    Path | None, typer.Option("--from", help="Your own file, or its folder; else the demo data.")
]
Output = Annotated[
    Path | None, typer.Option(help="Where the best goes; TRAINING_STATE_DIR/tuned by default.")
]
_REFERENCE = Path("configs/train.yaml")


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(train)
    app.command()(tune)
    app.command()(dataset)


def train(
    config: Config = _REFERENCE,
    assignments: Assignments = None,
    resume: Resume = False,
    processes: Processes = 1,
    promote: Promote = None,
) -> None:
    """Train a model, register it, and move the alias to it if the gate lets it pass.

    A version that the gate refuses is registered with its verdict: that is a finished training,
    exit code 0.
    """
    # torch and mlflow take seconds to import: only the command that needs them does
    from modelyard.training.experiment import read_experiment
    from modelyard.training.pipeline import assist
    from modelyard.training.pipeline import train as run_training
    from modelyard.training.ranks import joined_ranks

    chosen = [] if promote is None else [f"promote={promote.value}"]
    experiment = read_experiment(config, [*(assignments or ()), *chosen])
    settings = read_settings(TrainingSettings)
    with joined_ranks() as ranks:
        if processes > 1 and ranks.count == 1:
            _start_ranks(processes)
        elif ranks.index > 0:
            assist(experiment, settings, Path.cwd())
        else:
            run_training(experiment, settings, Path.cwd(), _say, resume=resume)


def tune(
    trials: Annotated[int, typer.Option(min=1, help="How many variations to try.")],
    config: Config = _REFERENCE,
    assignments: Assignments = None,
    output: Output = None,
) -> None:
    """Try variations of an experiment and write the best one as a configuration."""
    from modelyard.training.experiment import read_experiment
    from modelyard.training.tune import tune as run_search

    experiment = read_experiment(config, assignments or ())
    settings = read_settings(TrainingSettings)
    target = output or settings.training_state_dir / "tuned" / config.name
    run_search(experiment, settings, Path.cwd(), _say, trials=trials, output=target)


def dataset(
    config: Config = _REFERENCE, assignments: Assignments = None, source: Source = None
) -> None:
    """Put the dataset into the store: one of your own, or the project's demo data."""
    from modelyard.training.demo_data import push_data, push_demo_data
    from modelyard.training.experiment import read_experiment
    from modelyard.training.project import find_project

    experiment = read_experiment(config, assignments or ())
    folder = read_settings(TrainingSettings).modelyard_data_dir
    if source is not None:
        push_data(source, folder, experiment.data, _say)
        return
    push_demo_data(find_project(experiment.project), folder, experiment.data, _say)


def _say(line: str) -> None:
    typer.echo(line)


def _start_ranks(processes: int) -> None:
    """Become torchrun, which starts this very command once for each rank."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [sys.executable, *launch, "-m", "modelyard.cli.main", *sys.argv[1:]]
    os.execv(sys.executable, command)  # noqa: S606 - our own words, no shell
