"""`models:/` addresses: which model version a server follows.

The forms are MLflow's own: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, `models:/NAME/STAGE` and
`models:/NAME/latest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote

from modelyard.errors import ConfigError, did_you_mean

STAGES = ("None", "Staging", "Production", "Archived")
_ALIAS = re.compile(r"[\w-]{1,255}")
_VERSION_LIKE = re.compile(r"[vV]\d+")
_FORMS = "models:/NAME@ALIAS, models:/NAME/VERSION, models:/NAME/latest or models:/NAME/STAGE"


class Selector(StrEnum):
    """How an address selects a version of a registered model."""

    ALIAS = "alias"
    VERSION = "version"
    STAGE = "stage"
    LATEST = "latest"


@dataclass(frozen=True)
class ModelUri:
    """A parsed `models:/` address. `value` is the alias, version number or stage."""

    name: str
    selector: Selector
    value: str

    def __str__(self) -> str:
        separator = "@" if self.selector is Selector.ALIAS else "/"
        return f"models:/{self.name}{separator}{self.value}"

    @property
    def is_fixed(self) -> bool:
        """True when this address always means the same version."""
        return self.selector is Selector.VERSION


def check_alias(text: str) -> str:
    """`text`, if MLflow accepts it as the name of an alias.

    Raises:
        ConfigError: it does not.
    """
    reserved = text.lower() == "latest" or _VERSION_LIKE.fullmatch(text) is not None
    if reserved or not _ALIAS.fullmatch(text):
        raise ConfigError(
            f'"{text}" cannot be an alias: expected letters, digits, _ and -, 255 at most, and '
            "neither latest nor v with a number, which mean versions.",
            fix="For example: --alias champion",
        )
    return text


def parse_model_uri(text: str) -> ModelUri:
    """Parse a `models:/` address.

    Raises:
        ConfigError: `text` is not one of the four forms.
    """
    if not text.startswith("models:/") or text.startswith("models://"):
        raise ConfigError(
            f'"{text}" is not a model address: expected {_FORMS}, with one slash after the colon.'
        )
    path = unquote(text.removeprefix("models:/"))
    if "@" in path:
        name, _, alias = path.rpartition("@")
        if name and alias and "/" not in path:
            return ModelUri(name, Selector.ALIAS, alias)
    else:
        name, _, value = path.rpartition("/")
        if name and value and "/" not in name:
            return _select(text, name, value)
    raise ConfigError(f'"{text}" names no version: expected {_FORMS}.')


def _select(text: str, name: str, value: str) -> ModelUri:
    if value.isascii() and value.isdigit() and int(value) > 0:
        return ModelUri(name, Selector.VERSION, str(int(value)))
    if value.lower() == "latest":
        return ModelUri(name, Selector.LATEST, "latest")
    for stage in STAGES:
        if value.lower() == stage.lower():
            return ModelUri(name, Selector.STAGE, stage)
    hint = did_you_mean(value, (*STAGES, "latest"))
    raise ConfigError(
        f'"{value}" in "{text}" is neither a version number, nor latest, nor a stage.{hint}',
        fix=f"An alias is written with @: models:/{name}@{value}",
    )
