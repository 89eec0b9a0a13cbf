"""Reading a process' settings, and the kinds of values that they have."""

from __future__ import annotations

import getpass
import logging
import os
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import AfterValidator, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from modelyard.errors import ConfigError

log = logging.getLogger("modelyard.settings")


class OldName(NamedTuple):
    """What an old name of a variable stands for, and the version that no longer reads it."""

    variable: str
    removed_in: str


OLD_NAMES: dict[str, OldName] = {}
"""Names that variables had, each still read for one version. For as long docker-compose.yml passes
the old name on beside the new one."""


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
    """The settings of a process, from its environment; says which variables have an old name.

    Raises:
        ConfigError: one line a variable that is missing or not of its type; values are not shown.
    """
    # pydantic takes a field, and names it in a fault, by its alias or, where it has none, its name
    keys = {
        variable_of(kind, name): str(field.validation_alias or name)
        for name, field in kind.model_fields.items()
    }
    named_before: dict[str, Any] = {}
    for old, (variable, removed_in) in OLD_NAMES.items():
        value = os.environ.get(old)
        if not value or variable not in keys:
            continue
        if os.environ.get(variable):
            _warn_once(f"{old} is ignored: it is called {variable} now, which is set too.")
        else:
            _warn_once(
                f"{old} is called {variable} now; version {removed_in} ignores the old name."
            )
            named_before[keys[variable]] = value
    try:
        return kind(**named_before)
    except ValidationError as error:
        variables = {key: variable for variable, key in keys.items()}
        lines = [
            f"  {variables[str(fault['loc'][0])]}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        ]
        raise ConfigError(
            "The environment is not valid:\n" + "\n".join(lines),
            fix="Every variable is explained in .env.example.",
        ) from error


@cache
def _warn_once(line: str) -> None:
    log.warning(line)  # on standard error, in a command, which configures no logs
