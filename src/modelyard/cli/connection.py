"""What the registry commands share: their options, and the way to the registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from modelyard.errors import ConfigError
from modelyard.registry import RegistryClient
from modelyard.settings import CommandSettings, read_settings

Model = Annotated[str | None, typer.Option(help="Registered model; MODEL_NAME by default.")]
Alias = Annotated[str, typer.Option(help="The alias to look at or to move.")]
Why = Annotated[str, typer.Option(help="The reason, for the record.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table, nothing shortened.")]

CHAMPION = "champion"
TRAIN_FIRST = (
    "train the first: docker compose --profile train run --rm training (or make train, make demo)"
)


@contextmanager
def open_registry(model: str | None) -> Iterator[tuple[RegistryClient, str]]:
    """The registry that the environment names, and the registered model that is meant.

    Raises:
        ConfigError: neither `model` nor MODEL_NAME says which.
    """
    settings = read_settings(CommandSettings)
    name = model or settings.model_name
    if not name:
        raise ConfigError("Which model?", fix="Say --model NAME, or set MODEL_NAME.")
    with RegistryClient(settings.mlflow_tracking_uri, settings.registry_timeout_s) as registry:
        yield registry, name
