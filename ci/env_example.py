"""`.env.example`: every variable that the stack takes, with its default and what it is for.

The typed settings (`modelyard.settings`) state both for what our own code reads, and
docker-compose.yml passes it on as `NAME:` without a value. Every other variable has its default in
docker-compose.yml, as `${NAME:-default}`, and above it a comment that begins with its name.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from modelyard.settings import (
    CommandSettings,
    DemoSettings,
    ServingSettings,
    TrafficSettings,
    TrainingSettings,
    variable_of,
)
from modelyard.settings.environment import OLD_NAMES

COMPOSE_FILES = ("docker-compose.yml", "docker-compose.cpu.yml")
SETTINGS = (ServingSettings, TrafficSettings, TrainingSettings, CommandSettings, DemoSettings)
WIDTH = 99

HEAD = """\
# Copy to .env and change what you need; without a .env everything has the value written here.
# No secret belongs in here: passwords and tokens are made on first start, in volumes of their own.
#
# Written by `make generated`; a variable is explained in src/modelyard/settings/ when our own code
# reads it, else in docker-compose.yml.

# -- which files make the stack ------------------------------------------------------------------
# Without an NVIDIA GPU, so that `docker compose --profile train run training` works as it is:
#COMPOSE_FILE=docker-compose.yml:docker-compose.cpu.yml
# Another name lets two stacks run side by side (give each its own ports):
#COMPOSE_PROJECT_NAME=modelyard
"""
# A variable belongs to the last section that has a pattern for it, in the order of the patterns.
SECTIONS: dict[str, Sequence[str]] = {
    "ports, on 127.0.0.1 only": ("GATEWAY_PORT", "MLFLOW_PORT"),
    "what is served": ("MODEL_*", "SERVING_TARGET", "SERVING_REPLICAS", "SERVING_*"),
    "the gateway": ("GATEWAY_[!P]*",),
    "the challenger (docs/rollout.md)": ("CHALLENGER_*", "TRAFFIC_*"),
    "MLflow": ("MLFLOW_[!P]*", "REGISTRY_*"),
    "training": ("MODELYARD_*", "TRACKING_*", "MLFLOW_HTTP_*", "MLFLOW_RUN_CONTEXT", "GIT_COMMIT"),
    "the S3 store: the bundled one, or your own": ("S3_[!BC]*", "S3_BUCKET_*", "S3_*"),
    "memory limits of containers": ("*_MEMORY",),
    "processors of containers: weights, and limits": ("*_CPU_SHARES", "*_CPUS"),
    "images": ("PYTHON_IMAGE", "*_IMAGE", "IMAGE_*"),
}

_VARIABLE = re.compile(r"\$\{(\w+):-((?:[^{}]|\$\{[^{}]*\})*)\}")
_COMMENT = re.compile(r"^ *# ([A-Z][A-Z0-9_]+): (.+(?:\n *#   .+)*)", re.MULTILINE)


class Variable(NamedTuple):
    """A variable as one of the two sources states it; `default` is None where it states none."""

    default: str | None
    text: str


class _Loader(yaml.SafeLoader):
    """YAML as Compose reads it: `!reset` takes a key away."""


_Loader.add_constructor("!reset", lambda _loader, _node: None)


def env_example(root: Path) -> str:
    """The whole file, for the Compose files in `root`.

    Raises:
        ValueError: the two sources leave something open or contradict each other; it says what.
    """
    text = "\n".join((root / name).read_text(encoding="utf-8") for name in COMPOSE_FILES)
    defaults, passed_on = _read_by_compose(text), _passed_on(root)
    typed = {name: v for name, v in _of_settings().items() if name in {*defaults, *passed_on}}
    variables = {**typed, **_of_compose(defaults, dict(_COMMENT.findall(text)), typed)}
    for name in passed_on:
        if name not in typed.keys() | OLD_NAMES.keys():
            raise ValueError(f"{name}: passed on by docker-compose.yml, but no setting of ours")
    sections: dict[str, list[str]] = {title: [] for title in SECTIONS}
    for name in sorted(variables, key=lambda name: _place(name)[1]):
        sections[_place(name)[0]].append(_entry(name, variables[name]))
    return HEAD + "".join(
        f"\n{f'# -- {title} ':-<{WIDTH}}\n{''.join(entries)}" for title, entries in sections.items()
    )


def _of_settings() -> dict[str, Variable]:
    """The typed settings in their order; no default where it is computed, or there is none."""
    found: dict[str, Variable] = {}
    for kind in SETTINGS:
        for field, setting in kind.model_fields.items():
            stated = not setting.is_required() and setting.default_factory is None
            default = _as_variable(setting.default) if stated else None
            variable = Variable(default, setting.description or "")
            found.setdefault(variable_of(kind, field), variable)
    return found


def _of_compose(
    defaults: Mapping[str, str], comments: Mapping[str, str], typed: Mapping[str, Variable]
) -> dict[str, Variable]:
    """What Compose itself reads; what a typed setting explains needs no comment there."""
    for name in comments.keys() - defaults.keys():
        raise ValueError(f"{name}: explained in docker-compose.yml, which has no default for it")
    found = {}
    for name, default in defaults.items():
        text = re.sub(r"\s*\n *# *", " ", comments.get(name, ""))
        ours = typed.get(name, Variable(None, text))
        if not ours.text or (name in typed and text):
            raise ValueError(
                f"{name}: expected one explanation, by a typed setting or `# {name}: …` above it"
            )
        if ours.default and ours.default != default:
            raise ValueError(f"{name}: {default} in docker-compose.yml, {ours.default} in settings")
        found[name] = Variable(default, ours.text)
    return found


def _read_by_compose(text: str) -> dict[str, str]:
    """The default of each variable that Compose interpolates; none where it is another variable."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found: dict[str, str] = {}
    for name, default in _VARIABLE.findall("\n".join(lines)):
        if found.setdefault(name, default) != default:
            raise ValueError(f"{name}: {found[name]} and {default} in docker-compose.yml")
    return {name: "" if text.startswith("$") else text for name, text in found.items()}


def _passed_on(root: Path) -> set[str]:
    """The variables in the environment of a service that have no value there."""
    found: set[str] = set()
    for path in (root / name for name in COMPOSE_FILES):
        services = yaml.load(path.read_text(encoding="utf-8"), _Loader)["services"]  # noqa: S506 - a safe one
        for service in services.values():
            environment: Mapping[str, Any] = service.get("environment") or {}
            found |= {name for name, value in environment.items() if value is None}
    return found


def _place(name: str) -> tuple[str, int]:
    """The section that a variable belongs to, and its place there: the index of its pattern."""
    for title, patterns in reversed(SECTIONS.items()):
        for place, pattern in enumerate(patterns):
            if fnmatchcase(name, pattern):
                return title, place
    raise ValueError(f"{name}: no section of .env.example is for it; ci/env_example.py has them")


def _entry(name: str, variable: Variable) -> str:
    lines = textwrap.wrap(variable.text, WIDTH - 2, break_on_hyphens=False)
    return "".join(f"# {line}\n" for line in lines) + f"#{name}={variable.default or ''}\n"


def _as_variable(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)
