"""`modelyard train` and `modelyard dataset`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelyard.settings import TrainingSettings, read_settings

Config = Annotated[Path, typer.Option(help="The experiment's YAML file.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one key; repeatable.")
]
_REFERENCE = Path("configs/train.yaml")


def add_commands(app: typer.Typer) -> None:
    """Add this module's commands to `app`."""
    app.command()(train)
    app.command()(dataset)


def train(config: Config = _REFERENCE, assignments: Assignments = None) -> None:
    """Train a model, register it and move the alias to it."""
    # torch and mlflow take seconds to import: only the command that needs them does
    from modelyard.training.experiment import read_experiment
    from modelyard.training.pipeline import train as run_training

    experiment = read_experiment(config, assignments or ())
    settings = read_settings(TrainingSettings)
    run_training(experiment, settings, Path.cwd(), _say)


def dataset(config: Config = _REFERENCE, assignments: Assignments = None) -> None:
    """Put the project's demo dataset into the store, if the pointer asks for it."""
    from modelyard.training.demo_data import push_demo_data
    from modelyard.training.experiment import read_experiment
    from modelyard.training.project import find_project

    experiment = read_experiment(config, assignments or ())
    folder = read_settings(TrainingSettings).modelyard_data_dir
    push_demo_data(find_project(experiment.project), folder, experiment.data, _say)


def _say(line: str) -> None:
    typer.echo(line)
