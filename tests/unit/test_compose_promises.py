"""Promises that the Compose files and Dockerfiles make, checked without an engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.settings import (
    CommandSettings,
    DemoSettings,
    ServingSettings,
    TrafficSettings,
    TrainingSettings,
    variable_of,
)

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
    for kind in (DemoSettings, CommandSettings, TrainingSettings, TrafficSettings, ServingSettings)
    for name, setting in kind.model_fields.items()
}
LONG_RUNNING = {name: s for name, s in SERVICES.items() if s["restart"] == "unless-stopped"}


def test_the_services_are_the_documented_ones() -> None:
    by_profile = {"challenger": {"challenger", "traffic"}}
    always = {"db", "storage", "mlflow", "serving", "gateway"}
    assert set(LONG_RUNNING) == always | by_profile["challenger"]
    for profile, names in by_profile.items():
        assert {n for n, s in LONG_RUNNING.items() if s.get("profiles") == [profile]} == names
    jobs = {"secrets", "buckets", "mlflow-migrate", "dataset", "training"}
    assert set(SERVICES) - set(LONG_RUNNING) == jobs


def test_every_variable_is_explained_in_the_example_with_its_default() -> None:
    used = INTERPOLATED.keys() | PASSED_ON
    assert used - SET_BY_THE_SHELL == EXPLAINED.keys() - READ_BY_COMPOSE
    for name, default in EXPLAINED.items():
        if name in PASSED_ON and TYPED[name].default_factory is None:
            assert yaml.safe_load(default) == TYPED[name].default, name
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


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), "a numeric user that is not root"
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert not {"privileged", "cap_add", "container_name", "env_file"} & service.keys()


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_every_long_running_service_has_a_healthcheck_and_time_to_stop(name: str) -> None:
    check = LONG_RUNNING[name]["healthcheck"]
    assert check["test"]
    assert check["interval"]
    assert "start_interval" not in check, "needs engine 25, and 24 is promised"
    assert "curl" not in str(check["test"])
    assert LONG_RUNNING[name]["stop_grace_period"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned_by_digest_or_built_here(name: str) -> None:
    ((_, image),) = VARIABLE.findall(SERVICES[name]["image"])
    assert "latest" not in image
    ours = image.startswith("modelyard/")
    assert ours or re.fullmatch(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}", image)
    builders = [
        s for s in SERVICES.values() if "build" in s and s["image"] == SERVICES[name]["image"]
    ]
    # two services that build one name at once make one of them fail
    assert len(builders) == int(ours)
    assert not ours or SERVICES[name]["pull_policy"] == "${IMAGE_PULL_POLICY:-never}"


def test_only_gateway_and_mlflow_publish_and_only_on_the_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"gateway", "mlflow"}
    for ports in published.values():
        assert all(port.startswith("127.0.0.1:${") for port in ports)


def test_serving_waits_for_nothing_but_its_token() -> None:
    assert SERVICES["serving"]["depends_on"].keys() == {"secrets"}


def test_the_database_and_the_store_have_no_way_out() -> None:
    assert load(BASE)["networks"]["back"] == {"internal": True}
    assert SERVICES["db"]["networks"] == SERVICES["storage"]["networks"] == ["back"]
    assert "back" not in SERVICES["serving"]["networks"]


def test_no_environment_holds_a_secret() -> None:
    for name, service in SERVICES.items():
        for variable in service.get("environment", {}):
            secret = re.search(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY", variable)
            assert not secret or variable.endswith("_FILE"), f"{name}: {variable}"


def test_serving_is_given_every_setting() -> None:
    given = SERVICES["serving"]["environment"]
    for name in ServingSettings.model_fields:
        variable = variable_of(ServingSettings, name)
        if name == "host":
            continue  # the default, every address, is right in a container
        fixed = given[variable] is not None and "$" not in given[variable]
        # what depends on ports and volumes, which are here
        wired = {"port", "cache_dir", "admin_token_file", "prediction_log_dir"}
        assert fixed == (name in {*wired, "mlflow_tracking_uri"}), name


def test_the_challenger_differs_from_serving_by_its_model_and_its_cache_alone() -> None:
    champion, challenger = SERVICES["serving"], SERVICES["challenger"]
    differing = {
        name
        for name in champion["environment"] | challenger["environment"]
        if champion["environment"].get(name) != challenger["environment"].get(name)
    }
    assert differing == {"MODEL_URI"}
    ours = {"build", "deploy", "environment", "healthcheck", "profiles", "volumes"}
    for key in (champion.keys() | challenger.keys()) - ours:
        assert champion[key] == challenger[key], key
    assert "serving-cache" not in str(challenger["volumes"])


def test_traffic_is_given_every_limit() -> None:
    given = SERVICES["traffic"]["environment"]
    inside = {"port", "champion_url", "challenger_url", "poll_interval_s", "socket", "state_dir"}
    for name in TrafficSettings.model_fields:
        if name not in {*inside, "modelyard_user"}:
            assert given[variable_of(TrafficSettings, name)] is None, name


def test_only_traffic_and_the_gateway_share_the_control_socket() -> None:
    holders = {name for name, s in SERVICES.items() if "gateway-control" in str(s.get("volumes"))}
    assert holders == {"gateway", "traffic"}


def test_the_gateway_is_given_every_setting_that_it_reads() -> None:
    read_there = {
        *re.findall(r"\$\{((?:GATEWAY|SERVING)_\w+)\}", read("configs/gateway/haproxy.cfg")),
        *re.findall(r'number_of\("(\w+)"\)', read("configs/gateway/arms.lua")),
    }
    given = SERVICES["gateway"]["environment"]
    assert given.keys() == read_there
    for name, value in given.items():
        assert VARIABLE.fullmatch(value)[1] == name


def test_mlflow_clients_stay_on_the_servers_address() -> None:
    for name in ("serving", "training"):
        environment = SERVICES[name]["environment"]
        assert environment["MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD"] == "false"
        assert environment["MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD"] == "false"


def test_training_reserves_the_gpu_and_the_overlay_takes_the_reservation_away() -> None:
    (device,) = SERVICES["training"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert device["capabilities"] == ["gpu"]
    overlay = load(CPU)["services"]
    assert overlay["training"]["deploy"] == RESET
    for name in ("dataset", "training"):
        assert overlay[name]["build"]["args"] == {"TORCH": "cpu"}
    assert overlay["training"]["image"] != SERVICES["training"]["image"]


def test_whatever_run_training_starts_first_can_be_built_by_itself() -> None:
    """`docker compose run` starts what it depends on before it builds the image it runs."""
    for name in SERVICES["training"]["depends_on"]:
        assert "build" in SERVICES[name], name
        assert SERVICES[name]["image"] != SERVICES["training"]["image"]


def test_the_offline_overlay_replaces_every_public_image_by_a_stand_in_of_its_tag() -> None:
    overlay = load(OFFLINE)["services"]
    stand_ins = re.findall(r'"([\w./-]+:[\w.-]+)"', read("ci/docker/bases/docker-bake.hcl"))
    pinned = {name: s["image"] for name, s in SERVICES.items() if "@sha256" in s["image"]}
    for name, image in pinned.items():
        ((_, default),) = VARIABLE.findall(image)
        assert overlay[name]["image"] == default.split("@")[0]
        assert overlay[name]["image"] in stand_ins
    for name in (name for name, service in SERVICES.items() if "build" in service):
        assert overlay[name]["build"]["args"]["PYTHON_IMAGE"] in stand_ins


@pytest.mark.parametrize("path", DOCKERFILES)
def test_dockerfiles_start_from_a_digest_and_end_without_root(path: str) -> None:
    text = read(path)
    stages = {"scratch", *re.findall(r"^FROM .+ AS (\S+)$", text, re.MULTILINE)}
    for base in re.findall(r"^FROM (\S+)", text, re.MULTILINE):
        assert base == "${PYTHON_IMAGE}" or re.sub(r"\$\{\w+\}", "cpu", base) in stages
    assert re.search(r"^ARG PYTHON_IMAGE=python:[\w.-]+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1] == "10001:10001"
    assert re.search(r"^HEALTHCHECK ", text, re.MULTILINE)
    assert "curl" not in text
    assert not text.startswith("# syntax"), "the frontend would be fetched from a registry"
    for install in re.findall(r"uv pip install(?:.|\\\n)+?-r \S+", text):
        assert "--require-hashes" in install
        assert "--compile-bytecode" in install


@pytest.mark.parametrize(
    ("first", "last", "files"),
    [
        ("FROM ${PYTHON_IMAGE} AS build\n", "RUN uv venv /opt/venv\n", DOCKERFILES),
        ("FROM ${PYTHON_IMAGE} AS runtime\n", "/tmp modelyard\n", DOCKERFILES),
        ("# Local wheels", "AS wheels\n", DOCKERFILES[1:]),
        ("# Only torch's CPU build", "COPY ", DOCKERFILES[1:]),
    ],
)
def test_dockerfiles_repeat_a_stage_word_for_word(
    first: str, last: str, files: tuple[str, ...]
) -> None:
    """Only equal steps share a layer and the cache; a stage cannot come from another Dockerfile."""
    stages = set()
    for path in files:
        ((stage,),) = (
            re.findall(f"{re.escape(first)}.*?{re.escape(last)}", read(path), re.DOTALL),
        )
        stages.add(stage)
    assert len(stages) == 1


def test_dockerfiles_and_compose_name_the_same_base() -> None:
    bases = {
        re.search(r"^ARG PYTHON_IMAGE=(\S+)$", read(path), re.MULTILINE)[1] for path in DOCKERFILES
    }
    assert bases == {*INTERPOLATED["PYTHON_IMAGE"]}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs/gateway/errors").glob("*.http")), ids=lambda path: path.name
)
def test_the_gateways_own_answers_are_whole_problem_details(path: Path) -> None:
    head, body = path.read_bytes().split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["Content-Type"] == "application/problem+json"
    assert int(headers["Content-Length"]) == len(body)
    assert lines[0].split()[1] == str(json.loads(body)["status"]) == path.stem.split("-")[0]
    assert ("Retry-After" in headers) == (path.stem[:3] in {"429", "502", "503", "504"})
    assert path.name in read("configs/gateway/haproxy.cfg")


@pytest.mark.parametrize("path", ["entrypoint.sh", "ci/docker/engine.sh", "ci/docker/rootfs.sh"])
def test_scripts_parse_and_may_be_run(path: str) -> None:
    assert (ROOT / path).stat().st_mode & 0o111
    shell = read(path).splitlines()[0].removeprefix("#!/usr/bin/env ").removeprefix("#!/bin/")
    subprocess.run([shell, "-n", str(ROOT / path)], check=True)
