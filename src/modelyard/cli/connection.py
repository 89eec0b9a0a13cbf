"""What the registry commands share: their options, and the connection to the registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from modelyard.registry import RegistryClient
from modelyard.registry.lookup import only_model
from modelyard.settings import CommandSettings, read_settings

ModelOption = Annotated[
    str | None,
    typer.Option(help="Registered model; default: MODEL_NAME, or the only registered model."),
]
AliasOption = Annotated[str, typer.Option(help="The alias to show or to move.")]
ReasonOption = Annotated[str, typer.Option(help="The reason, for the record.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="JSON instead of a table, nothing shortened.")
]

CHAMPION = "champion"


@contextmanager
def open_registry(model: str | None) -> Iterator[tuple[RegistryClient, str]]:
    """The registry that the environment names, and the name of the registered model to use.

    Raises:
        ConfigError: neither `model` nor MODEL_NAME names one, and there are several.
        EmptyRegistryError: neither names one, and there is none.
    """
    settings = read_settings(CommandSettings)
    with RegistryClient.of(settings) as registry:
        yield registry, model or settings.model_name or only_model(registry)
