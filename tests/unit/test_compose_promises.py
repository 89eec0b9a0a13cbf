"""Promises that the Compose files make, checked without an engine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from modelyard.settings import (
    ServingSettings,
    TrafficSettings,
    variable_of,
)
from support.compose_files import (
    BASE,
    CPU,
    LONG_RUNNING,
    OFFLINE,
    RESET,
    ROOT,
    SERVICES,
    VARIABLE,
    load,
    read,
)


def test_the_services_are_the_documented_ones() -> None:
    by_profile = {"challenger": {"challenger", "traffic"}}
    always = {"db", "storage", "mlflow", "registry-door", "serving", "gateway"}
    assert set(LONG_RUNNING) == always | by_profile["challenger"]
    for profile, names in by_profile.items():
        assert {n for n, s in LONG_RUNNING.items() if s.get("profiles") == [profile]} == names
    jobs = {"secrets", "buckets", "mlflow-migrate", "dataset", "training"}
    assert set(SERVICES) - set(LONG_RUNNING) == jobs


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), "a numeric user that is not root"
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["cpu_shares"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert not {"privileged", "cap_add", "container_name", "env_file"} & service.keys()


def test_serving_outweighs_training_where_processors_are_scarce() -> None:
    def default(name: str) -> int:
        stated = SERVICES[name]["cpu_shares"]
        return int(VARIABLE.fullmatch(stated)[2]) if isinstance(stated, str) else stated

    shares = {name: default(name) for name in SERVICES}
    jobs = [name for name in SERVICES if name not in LONG_RUNNING]
    assert shares["training"] == shares["dataset"] == min(shares.values())
    assert shares["serving"] == shares["gateway"] == max(shares.values())
    assert shares["serving"] >= 8 * shares["training"]
    assert max(shares[name] for name in jobs) < min(shares[name] for name in LONG_RUNNING)
    assert 1024 not in shares.values(), "the engine's default, which says that nobody chose"
    limits = {name: s["cpus"] for name, s in SERVICES.items() if "cpus" in s}
    assert limits.keys() == {"serving", "challenger", "gateway", "training", "dataset", "mlflow",
                             "db", "storage"}  # fmt: skip
    assert {VARIABLE.fullmatch(limit)[2] for limit in limits.values()} == {"0"}


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


def networks(name: str) -> set[str]:
    return set(SERVICES[name].get("networks", ()))


@pytest.mark.parametrize("name", ["serving", "challenger", "gateway", "traffic"])
def test_who_answers_clients_shares_no_network_with_the_registry_or_what_is_behind(
    name: str,
) -> None:
    for hidden in ("mlflow", "db", "storage", "buckets", "mlflow-migrate"):
        assert not networks(name) & networks(hidden), hidden


def test_prediction_servers_read_the_registry_through_a_door_and_have_no_way_out() -> None:
    for name in ("serving", "challenger"):
        assert SERVICES[name]["environment"]["MLFLOW_TRACKING_URI"] == "http://registry-door:5000"
        for network in networks(name):
            assert load(BASE)["networks"][network] == {"internal": True}
    assert networks("registry-door") == {"door", "registry"}
    holders = {name for name in SERVICES if "door" in networks(name)}
    assert holders == {"registry-door", "serving", "challenger"}
    assert "secrets" not in str(SERVICES["registry-door"]["volumes"])


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
        *re.findall(r'getenv\("(\w+)"\)', read("configs/gateway/origins.lua")),
    }
    given = SERVICES["gateway"]["environment"]
    assert given.keys() == read_there
    for name, value in given.items():
        assert value is None or VARIABLE.fullmatch(value)[1] == name


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


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs/gateway/errors").glob("*.http")), ids=lambda path: path.name
)
def test_the_gateways_own_answers_are_whole_problem_details(path: Path) -> None:
    head, body = path.read_bytes().split(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["Content-Type"] == "application/problem+json"
    assert int(headers["Content-Length"]) == len(body)
    status = str(json.loads(body)["status"])
    assert status == path.stem.split("-")[0]
    # as which the gateway hands it on to itself: see backend `twice`
    assert lines[0].split()[1] == ("425" if path.stem.endswith("-inside") else status)
    assert ("Retry-After" in headers) == (path.stem[:3] in {"429", "502", "503", "504"})
    assert path.name in read("configs/gateway/haproxy.cfg")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs/gateway/errors").glob("*.json")), ids=lambda path: path.name
)
def test_so_are_those_of_its_rules(path: Path) -> None:
    problem = json.loads(path.read_text())
    assert problem.keys() == {"type", "title", "status", "detail"}
    name = re.escape(f"errors/{path.name}")
    rules = re.findall(rf"return status (\d+) .*{name}", read("configs/gateway/haproxy.cfg"))
    assert set(rules) == {str(problem["status"])} == {path.stem.split("-")[0]}
