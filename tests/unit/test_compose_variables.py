"""Every variable of the stack: explained, with one default, and given to what reads it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from support.compose_files import (
    BASE,
    CPU,
    EXPLAINED,
    INTERPOLATED,
    OFFLINE,
    PASSED_ON,
    READ_BY_COMPOSE,
    ROOT,
    SERVICES,
    SET_BY_THE_SHELL,
    TYPED,
    read,
)


def test_every_variable_is_explained_in_the_example_with_its_default() -> None:
    used = INTERPOLATED.keys() | PASSED_ON
    assert used - SET_BY_THE_SHELL == EXPLAINED.keys() - READ_BY_COMPOSE
    for name, default in EXPLAINED.items():
        if name in PASSED_ON and TYPED[name].default_factory is None:
            none = (None, "")
            stated, typed = yaml.safe_load(default), TYPED[name].default
            assert stated == typed or (stated in none and typed in none), name
        elif name in INTERPOLATED and name != "MODELYARD_USER":
            assert INTERPOLATED[name] == {default}, name


def test_what_our_own_code_reads_has_its_default_there() -> None:
    """Compose passes it on where it is set, and knows no default of its own for it."""
    assert not PASSED_ON - TYPED.keys()
    both = {
        "MODEL_URI", "MODEL_NAME",  # the platform knows no project, and has no default for them
        "MODELYARD_USER",  # the user of the host: a container has none
        "GIT_COMMIT",  # a build argument
        # Compose or HAProxy needs a value; test_generated.py: it has to be that of the settings
        "MLFLOW_PORT", "GATEWAY_PORT", "SERVING_MAX_BATCH_BODY_BYTES",
    }  # fmt: skip
    assert TYPED.keys() & INTERPOLATED.keys() == both


def test_make_leaves_to_dotenv_what_dotenv_may_set() -> None:
    """Compose prefers its environment, so that what make exports would hide it."""
    exported = re.findall(r"^export (\w+)", read("Makefile"), re.MULTILINE)
    assert EXPLAINED.keys() & set(exported) == {"GIT_COMMIT"}


def test_a_variable_has_one_default_wherever_it_is_read() -> None:
    assert {name: d for name, d in INTERPOLATED.items() if len(d) != 1} == {}


def test_an_empty_variable_counts_as_none_in_every_default() -> None:
    """`${NAME-default}` and the like would take an empty one for a value."""
    for path in (BASE, CPU, OFFLINE, "entrypoint.sh", "ci/docker/engine.sh", "ci/docker/rootfs.sh"):
        assert re.findall(r"\$\{\w+[-?=+]", read(path)) == [], path


@pytest.fixture(scope="module")
def compose_config() -> Callable[..., dict[str, Any]]:
    """Compose's own reading of the stack, with what is given as the whole environment."""
    command = ["docker", "compose", "--profile", "*", "--env-file", os.devnull]
    bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    try:
        subprocess.run(["docker", "compose", "version"], check=True, capture_output=True, env=bare)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no `docker compose` on this machine")

    def read_config(*files: str, **environment: str) -> dict[str, Any]:
        options = [word for name in files for word in ("-f", name)]
        done = subprocess.run(
            [*command, *options, "config", "--format", "json"],
            cwd=ROOT,
            env=bare | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    return read_config


@pytest.mark.parametrize("files", [(BASE,), (BASE, CPU)], ids=["gpu", "cpu"])
def test_an_empty_variable_counts_as_none_in_the_whole_stack(
    compose_config: Callable[..., dict[str, Any]], files: tuple[str, ...]
) -> None:
    # an empty COMPOSE_FILE is an error of Compose's own
    empty = dict.fromkeys(EXPLAINED.keys() - {"COMPOSE_FILE"}, "")
    unset, emptied = compose_config(*files), compose_config(*files, **empty)
    for config in (unset, emptied):
        for name, service in SERVICES.items():
            for variable, value in service.get("environment", {}).items():
                if value is None:  # the typed settings take both for none: test_settings.py
                    passed_on = config["services"][name]["environment"].pop(variable)
                    assert passed_on in (None, ""), variable
    assert emptied == unset


def test_a_variable_that_is_set_reaches_whoever_reads_it(
    compose_config: Callable[..., dict[str, Any]],
) -> None:
    given = {name: f"{name.lower()}-1" for name in PASSED_ON}
    services = compose_config(BASE, **given)["services"]
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if value is None:
                assert services[name]["environment"][variable] == given[variable]
