"""Finds what a user named in the registry; where it is missing, the error lists what exists."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modelyard.errors import ConfigError, RegistryNotFoundError, did_you_mean
from modelyard.registry.client import RegistryClient
from modelyard.registry.records import ModelVersion, RegisteredModel

TRAIN_FIRST = (
    "train the first: docker compose --profile train run --rm training (or make train, make demo)"
)
_NUMBER = re.compile(r"0*([1-9][0-9]{0,8})")
_LISTED = 10


class EmptyRegistryError(RegistryNotFoundError):
    """The registry has no model at all, as it is before the first training."""


def only_model(registry: RegistryClient) -> str:
    """The name of the only registered model.

    Raises:
        ConfigError: there are several; lists them.
        EmptyRegistryError: there is none.
    """
    names = registry.model_names()
    if not names:
        raise _empty(registry)
    if len(names) > 1:
        raise ConfigError(
            f"Which model? The registry at {registry.tracking_uri} has: {_list(names)}.",
            fix="Say --model NAME, or set MODEL_NAME.",
        )
    return names[0]


def find_model(registry: RegistryClient, name: str) -> RegisteredModel:
    """The registered model `name`.

    Raises:
        RegistryNotFoundError: there is no such model; lists those that exist.
        EmptyRegistryError: there is no model at all.
    """
    try:
        return registry.registered_model(name)
    except RegistryNotFoundError as error:
        names = registry.model_names()
        if not names:
            raise _empty(registry) from error
        raise RegistryNotFoundError(
            f'There is no model "{name}" in the registry at {registry.tracking_uri}; it has: '
            f"{_list(names)}.{did_you_mean(name, names)}",
            fix="Name one of them: --model NAME, or MODEL_NAME.",
        ) from error


def find_aliased(model: RegisteredModel, alias: str) -> str:
    """The number of the version that `alias` of `model` points to.

    Raises:
        RegistryNotFoundError: the alias is not set; lists those that are.
    """
    if number := model.aliases.get(alias):
        return number
    listed = ", ".join(sorted(model.aliases)) or "none"
    raise RegistryNotFoundError(
        f'{model.name} has no alias "{alias}"; it has: {listed}.'
        + did_you_mean(alias, model.aliases),
        fix="Set it: modelyard promote VERSION --why …",
    )


def find_version(registry: RegistryClient, name: str, number: str) -> ModelVersion:
    """Version `number` of the registered model `name`; leading zeros are ignored.

    Raises:
        RegistryNotFoundError: `number` is not a number, or there is no such version or model.
    """
    digits = _NUMBER.fullmatch(number)
    if digits is None:
        raise RegistryNotFoundError(
            f'"{number}" is not the number of a version.', fix="List them: modelyard versions"
        )
    try:
        return registry.version(name, digits[1])
    except RegistryNotFoundError as error:
        find_model(registry, name)
        raise RegistryNotFoundError(
            f"There is no version {digits[1]} of {name} in the registry at "
            f"{registry.tracking_uri}.",
            fix="List what there is: modelyard versions. Or make one: modelyard train",
        ) from error


def _empty(registry: RegistryClient) -> EmptyRegistryError:
    return EmptyRegistryError(
        f"The registry at {registry.tracking_uri} has no model yet.",
        fix=TRAIN_FIRST[0].upper() + TRAIN_FIRST[1:],
    )


def _list(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
