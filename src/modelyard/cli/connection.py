"""What the registry commands share: their options, and the way to the registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from modelyard.registry import RegistryClient
from modelyard.registry.lookup import only_model
from modelyard.settings import CommandSettings, read_settings

Model = Annotated[
    str | None,
    typer.Option(help="Registered model; by default MODEL_NAME, or the only one that there is."),
]
Alias = Annotated[str, typer.Option(help="The alias to look at or to move.")]
Why = Annotated[str, typer.Option(help="The reason, for the record.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table, nothing shortened.")]

CHAMPION = "champion"


@contextmanager
def open_registry(model: str | None) -> Iterator[tuple[RegistryClient, str]]:
    """The registry that the environment names, and the name of the registered model that is meant.

    Raises:
        ConfigError: neither `model` nor MODEL_NAME says which, and there are several.
        EmptyRegistryError: neither says which, and there is none.
    """
    settings = read_settings(CommandSettings)
    with RegistryClient.of(settings) as registry:
        yield registry, model or settings.model_name or only_model(registry)
