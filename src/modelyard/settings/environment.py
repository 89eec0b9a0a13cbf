"""Reading a process' settings, and the kinds of values that they have."""

from __future__ import annotations

import getpass
from typing import Annotated, TypeVar

from pydantic import AfterValidator, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from modelyard.errors import ConfigError


class Environment(BaseSettings):
    """Settings out of environment variables; an empty variable counts as none."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)


Settings = TypeVar("Settings", bound=Environment)


def login_name() -> str:
    """Who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's numeric user has no name
        return "modelyard"


def _http_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(
            "expected the address of an MLflow server, http:// or https://; a database or a "
            "folder is reached through a server (modelyard's containers and `make demo` start one)"
        )
    return url.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_http_url)]


def variable_of(kind: type[Environment], field: str) -> str:
    """The environment variable that a field of `kind` is read from.

    That is the field's own alias, or the prefix of its class and the field's name in capitals. What
    a class with a prefix inherits needs an alias, or the prefix would be put in front of it.
    """
    alias = kind.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"{kind.model_config['env_prefix']}{field}".upper()


def read_settings(kind: type[Settings]) -> Settings:
    """The settings of a process, from its environment.

    Raises:
        ConfigError: one line a variable that is missing or not of its type; values are not shown.
    """
    try:
        return kind()
    except ValidationError as error:
        # a fault is placed by the field's alias or, where it has none, by its name
        variables = {field: variable_of(kind, field) for field in kind.model_fields}
        lines = [
            f"  {variables.get(place := str(fault['loc'][0]), place)}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        ]
        raise ConfigError(
            "The environment is not valid:\n" + "\n".join(lines),
            fix="Every variable is explained in .env.example.",
        ) from error
