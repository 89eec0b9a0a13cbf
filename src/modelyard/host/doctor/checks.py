"""What the stack needs of a host, and what to do where that is missing."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from modelyard.host.docker import INSTALL_URL
from modelyard.host.doctor.facts import (
    COMPARED,
    CPU_LIMITS,
    EXAMPLE_FILE,
    GATEWAY_FILE,
    OWN_STACK,
    Facts,
)

MIN_ENGINE = (24, 0)
MIN_COMPOSE = (2, 24)
MIN_DRIVER = (580, 0)  # the first driver for CUDA 13, which torch's wheels carry
MIN_MEMORY_GIB = 4
MIN_DISK_GIB = {"cpu": 12, "gpu": 25}
FULL_DISK_GIB = 2  # below this nothing starts, whatever is built already
BASE_FILE = "docker-compose.yml"
CPU_OVERLAY = "docker-compose.cpu.yml"
AIRPLAY_PORT = 5000
_GIB = 2**30


class Finding(NamedTuple):
    """What a check expected and found; `fix` says what to do when it is not `ok`."""

    check: str
    ok: bool
    expected: str
    found: str
    fix: str = ""
    needed: bool = True  # False: the stack runs all the same, in a way that `fix` explains


def can_use_gpu(facts: Facts) -> bool:
    """Whether the service `training` can start as it is, with its GPU reservation."""
    return facts.engine_knows_nvidia and _at_least(facts.gpu_driver, MIN_DRIVER)


def check_engine(facts: Facts) -> list[Finding]:
    """A Docker engine that answers and is new enough."""
    expected = f"a Docker engine, {_dotted(MIN_ENGINE)} or newer"
    if not facts.docker_cli:
        found, fix = "no `docker` command", f"install Docker: {INSTALL_URL}"
    elif facts.engine is None:
        found = facts.engine_error or "no answer"
        if "permission denied" in found.lower():
            fix = "sudo usermod -aG docker $USER, then log in again"
        else:
            fix = "start it: Docker Desktop, or sudo systemctl start docker"
    else:
        found, fix = facts.engine, f"update Docker: {INSTALL_URL}"
    return [Finding("engine", _at_least(facts.engine, MIN_ENGINE), expected, found, fix)]


def check_compose(facts: Facts) -> list[Finding]:
    """Compose as a plugin of the docker command, new enough for `!reset` and one-shot jobs."""
    expected = f"Docker Compose {_dotted(MIN_COMPOSE)} or newer (`docker compose version`)"
    fix = "update the Compose plugin: https://docs.docker.com/compose/install/linux/"
    good = _at_least(facts.compose, MIN_COMPOSE)
    return [Finding("compose", good, expected, facts.compose or "none", fix)]


def check_ports(facts: Facts) -> list[Finding]:
    """The two published ports are free, or held by this stack."""
    findings = []
    for variable, (port, holder) in facts.port_holders.items():
        fix = f"stop what holds it, or set {variable}=<another port> in .env"
        if port == AIRPLAY_PORT and sys.platform == "darwin":
            fix += " (on a Mac it is AirPlay Receiver: System Settings, General, AirDrop & Handoff)"
        free = holder in ("", OWN_STACK)
        found = f"used by {holder}" if holder else "free"
        findings.append(Finding(f"port {port}", free, f"free, for {variable}", found, fix))
    return findings


def check_room(facts: Facts) -> list[Finding]:
    """Disk where the engine keeps its images; memory of its machine, virtual on a desktop."""
    disk = MIN_DISK_GIB["gpu" if can_use_gpu(facts) else "cpu"]
    full = (facts.free_disk_bytes or 0) < FULL_DISK_GIB * _GIB
    rows = (
        ("disk", facts.free_disk_bytes, disk, "docker system prune removes what is not used", full),
        ("memory", facts.memory_bytes, MIN_MEMORY_GIB, "give Docker more memory", False),
    )
    return [
        Finding(name, found >= gib * _GIB, f"{gib} GiB", f"{found / _GIB:.1f} GiB", fix, needed)
        for name, found, gib, fix, needed in rows
        if found is not None
    ]


def check_gpu(facts: Facts) -> list[Finding]:
    """A GPU that a container can have; without one there is the CPU overlay."""
    if facts.gpu_driver is None:
        found = "no NVIDIA driver (`nvidia-smi` does not answer)"
    elif not _at_least(facts.gpu_driver, MIN_DRIVER):
        found = f"driver {facts.gpu_driver}"
    elif not facts.engine_knows_nvidia:
        found = f"driver {facts.gpu_driver}, but the engine has no NVIDIA container toolkit"
    else:
        found = f"driver {facts.gpu_driver}"
    expected = f"an NVIDIA driver {MIN_DRIVER[0]} or newer and its container toolkit"
    fix = (
        "train on the CPU, as `make train` does by itself: "
        f"COMPOSE_FILE={BASE_FILE}:{CPU_OVERLAY} in .env"
    )
    return [Finding("gpu", can_use_gpu(facts), expected, found, fix, needed=False)]


def check_files(facts: Facts) -> list[Finding]:
    """Containers read configs/ as users of their own, so others have to be able to."""
    found = ", ".join(facts.unreadable[:3]) or "all readable"
    expected = "configs/ readable by every user (containers are not you)"
    return [Finding("configs", not facts.unreadable, expected, found, "chmod -R o+rX configs")]


def check_defaults(facts: Facts) -> list[Finding]:
    """The file that has the defaults of what the next two checks compare."""
    if set(COMPARED) <= facts.settings.keys():
        return []
    expected = f"{EXAMPLE_FILE}, which has the default of every variable"
    found, fix = "no such file, or not the whole one", f"git checkout -- {EXAMPLE_FILE}"
    return [Finding("defaults", ok=False, expected=expected, found=found, fix=fix)]


def check_replicas(facts: Facts) -> list[Finding]:
    """As many replicas as the gateway has places for; further ones would get no request."""
    found = facts.settings.get("SERVING_REPLICAS")
    if found is None:
        return []
    good = found.isdecimal() and 1 <= int(found) <= facts.places
    expected = f"1 to {facts.places} in SERVING_REPLICAS, the gateway's places"
    fix = (
        f"lower it in .env, or raise 1-{facts.places} in every `server-template … serving:` line "
        f"of {GATEWAY_FILE}, then docker compose restart gateway"
    )
    return [Finding("replicas", good, expected, found, fix)]


def check_cpus(facts: Facts) -> list[Finding]:
    """No container may have more processors than there are: the engine would not create it."""
    findings = []
    for name in CPU_LIMITS:
        text = facts.settings.get(name, "0")
        limit = _number(text)
        if limit == 0 or facts.cpus is None:
            continue
        good = limit is not None and limit <= facts.cpus
        expected = f"0 (no limit) to {facts.cpus}, the processors of this machine"
        findings.append(Finding("cpus", good, expected, f"{name}={text}", f"change {name} in .env"))
    return findings


def check_timeouts(facts: Facts) -> list[Finding]:
    """The gateway waits longer than a server may take, or it asks another one for nothing."""
    gateway = facts.settings.get("GATEWAY_SERVER_TIMEOUT_S")
    server = facts.settings.get("SERVING_REQUEST_TIMEOUT_S")
    if gateway is None or server is None:
        return []
    waits, may_take = _number(gateway), _number(server)
    good = waits is not None and may_take is not None and waits > may_take
    found = f"the gateway waits {gateway} s, a server may take {server} s"
    expected = "seconds; GATEWAY_SERVER_TIMEOUT_S longer than SERVING_REQUEST_TIMEOUT_S"
    return [Finding("timeouts", good, expected, found, "change one of the two in .env")]


CHECKS: tuple[Callable[[Facts], Sequence[Finding]], ...] = (
    check_engine,
    check_compose,
    check_ports,
    check_room,
    check_files,
    check_defaults,
    check_replicas,
    check_timeouts,
    check_cpus,
    check_gpu,
)


def judge(facts: Facts) -> list[Finding]:
    """Every check's findings, in the order in which they are worth fixing."""
    return [finding for check in CHECKS for finding in check(facts)]


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None


def _at_least(version: str | None, minimum: tuple[int, int]) -> bool:
    match = re.search(r"(\d+)\.(\d+)", version or "")
    return match is not None and (int(match[1]), int(match[2])) >= minimum


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
