"""The Compose files as they are written, and the variables that they name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from ci.env_example import SETTINGS

from modelyard.settings import variable_of

ROOT = Path(__file__).parents[2]
BASE = "docker-compose.yml"
CPU = "docker-compose.cpu.yml"
OFFLINE = "ci/docker/compose.offline.yml"
DOCKERFILES = ("Dockerfile.mlflow", "Dockerfile.train", "Dockerfile.serve")
SET_BY_THE_SHELL = {"USER"}
READ_BY_COMPOSE = {"COMPOSE_FILE", "COMPOSE_PROJECT_NAME"}
RESET = "reset by the overlay"
VARIABLE = re.compile(r"\$\{(\w+)(?::-((?:[^{}]|\$\{[^{}]*\})*))?\}")


class ComposeLoader(yaml.SafeLoader):
    """YAML as Compose reads it: `!reset` takes a key away."""


ComposeLoader.add_constructor("!reset", lambda _loader, _node: RESET)


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def load(path: str) -> dict[str, Any]:
    return yaml.load(read(path), ComposeLoader)


def interpolated(*paths: str) -> dict[str, set[str]]:
    """Variables that Compose itself reads, with all their defaults; comments do not count."""
    lines = [line for path in paths for line in read(path).splitlines()]
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    found: dict[str, set[str]] = {}
    for name, default in VARIABLE.findall(text):
        found.setdefault(name, set()).add(default)
    return found


SERVICES: dict[str, dict[str, Any]] = load(BASE)["services"]
INTERPOLATED = interpolated(BASE, CPU)
PASSED_ON = {
    name
    for service in SERVICES.values()
    for name, value in service.get("environment", {}).items()
    if value is None
}
EXPLAINED = dict(re.findall(r"^#?([A-Z]\w*)=(.*)$", read(".env.example"), re.MULTILINE))
TYPED = {
    variable_of(kind, name): setting
    for kind in reversed(SETTINGS)
    for name, setting in kind.model_fields.items()
}
LONG_RUNNING = {name: s for name, s in SERVICES.items() if s["restart"] == "unless-stopped"}
