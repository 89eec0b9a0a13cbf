"""`make doctor`: whether this machine can run the stack, and what to do where it cannot.

    python3 src/modelyard/doctor.py                   every check; 1 when a needed one fails
    python3 src/modelyard/doctor.py --json            the same for programs
    python3 src/modelyard/doctor.py --compose-file    prints COMPOSE_FILE for training here

Standard library only, and any Python from 3.8: it has to run before anything is installed.
Looking (`look`) and judging (`CHECKS`) are apart, so that the judgement is tested without a host.
"""

# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Sequence  # noqa: UP035 - Python 3.8

MIN_ENGINE = (24, 0)
MIN_COMPOSE = (2, 24)
MIN_DRIVER = (580, 0)  # the first driver for CUDA 13, which torch's wheels carry
MIN_MEMORY_GIB = 4
MIN_DISK_GIB = {"cpu": 12, "gpu": 25}
FULL_DISK_GIB = 2  # below this nothing starts, whatever is built already
DEFAULT_PORTS = {"GATEWAY_PORT": 8000, "MLFLOW_PORT": 5000}
DEFAULT_SETTINGS = {  # docker-compose.yml's own, where they are compared with something
    "SERVING_REPLICAS": "1",
    "SERVING_REQUEST_TIMEOUT_S": "5",
    "GATEWAY_SERVER_TIMEOUT_S": "8",
}
DEFAULT_PLACES = 8
GATEWAY_FILE = "configs/gateway/haproxy.cfg"
BASE_FILE = "docker-compose.yml"
OVERRIDE_FILE = "docker-compose.override.yml"
CPU_OVERLAY = "docker-compose.cpu.yml"
AIRPLAY_PORT = 5000
OWN_STACK = "this stack"
INSTALL = "https://docs.docker.com/engine/install/"
_COMMAND_TIMEOUT_S = 15
_GIB = 2**30


class Finding(NamedTuple):
    """What a check expected and found; `fix` says what to do when it is not `ok`."""

    check: str
    ok: bool
    expected: str
    found: str
    fix: str = ""
    needed: bool = True  # False: the stack runs all the same, in a way that `fix` explains


@dataclass(frozen=True)
class Facts:
    """What the host looks like; a None means that it could not be found out."""

    docker_cli: bool = False
    engine: str | None = None
    engine_error: str = ""
    compose: str | None = None
    port_holders: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # "" is a free port
    free_disk_bytes: int | None = None
    memory_bytes: int | None = None
    gpu_driver: str | None = None
    engine_knows_nvidia: bool = False
    unreadable: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=lambda: DEFAULT_SETTINGS)
    places: int = DEFAULT_PLACES  # for replicas, in the gateway's configuration


Check = Callable[[Facts], Sequence[Finding]]


def can_use_gpu(facts: Facts) -> bool:
    """Whether the service `training` can start as it is, with its GPU reservation."""
    return facts.engine_knows_nvidia and _at_least(facts.gpu_driver, MIN_DRIVER)


def check_engine(facts: Facts) -> list[Finding]:
    """A Docker engine that answers and is new enough."""
    expected = f"a Docker engine, {_dotted(MIN_ENGINE)} or newer"
    if not facts.docker_cli:
        found, fix = "no `docker` command", f"install Docker: {INSTALL}"
    elif facts.engine is None:
        found = facts.engine_error or "no answer"
        if "permission denied" in found.lower():
            fix = "sudo usermod -aG docker $USER, then log in again"
        else:
            fix = "start it: Docker Desktop, or sudo systemctl start docker"
    else:
        found, fix = facts.engine, f"update Docker: {INSTALL}"
    return [Finding("engine", _at_least(facts.engine, MIN_ENGINE), expected, found, fix)]


def check_compose(facts: Facts) -> list[Finding]:
    """Compose as a plugin of the docker command, new enough for `!reset` and one-shot jobs."""
    expected = f"Docker Compose {_dotted(MIN_COMPOSE)} or newer (`docker compose version`)"
    fix = "update the Compose plugin: https://docs.docker.com/compose/install/linux/"
    good = _at_least(facts.compose, MIN_COMPOSE)
    return [Finding("compose", good, expected, facts.compose or "none", fix)]


def check_ports(facts: Facts) -> list[Finding]:
    """The two published ports are free, or held by this very stack."""
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
    """Containers read configs/ as users of their own, so others must be allowed to."""
    found = ", ".join(facts.unreadable[:3]) or "all readable"
    expected = "configs/ readable by every user (containers are not you)"
    return [Finding("configs", not facts.unreadable, expected, found, "chmod -R o+rX configs")]


def check_replicas(facts: Facts) -> list[Finding]:
    """As many replicas as the gateway has places for; further ones would get no request."""
    found = facts.settings["SERVING_REPLICAS"]
    good = found.isdecimal() and 1 <= int(found) <= facts.places
    expected = f"1 to {facts.places} in SERVING_REPLICAS, the gateway's places"
    fix = (
        f"lower it in .env, or raise 1-{facts.places} in every `server-template … serving:` line "
        f"of {GATEWAY_FILE}, then docker compose restart gateway"
    )
    return [Finding("replicas", good, expected, found, fix)]


def check_timeouts(facts: Facts) -> list[Finding]:
    """The gateway waits longer than a server may take, or it asks another one in vain."""
    gateway = facts.settings["GATEWAY_SERVER_TIMEOUT_S"]
    server = facts.settings["SERVING_REQUEST_TIMEOUT_S"]
    waits, may_take = _seconds(gateway), _seconds(server)
    good = waits is not None and may_take is not None and waits > may_take
    found = f"the gateway waits {gateway} s, a server may take {server} s"
    expected = "seconds; GATEWAY_SERVER_TIMEOUT_S longer than SERVING_REQUEST_TIMEOUT_S"
    return [Finding("timeouts", good, expected, found, "change one of the two in .env")]


CHECKS: tuple[Check, ...] = (
    check_engine,
    check_compose,
    check_ports,
    check_room,
    check_files,
    check_replicas,
    check_timeouts,
    check_gpu,
)


def judge(facts: Facts) -> list[Finding]:
    """Every check's findings, in the order in which they are worth mending."""
    return [finding for check in CHECKS for finding in check(facts)]


def render(finding: Finding) -> str:
    """One line for what is well, three for what is not."""
    if finding.ok:
        return f"ok    {finding.check:<10} {finding.found}"
    verdict, indent = "FAIL" if finding.needed else "note", " " * 17
    return (
        f"{verdict}  {finding.check:<10} expected  {finding.expected}\n"
        f"{indent}found     {finding.found}\n{indent}fix       {finding.fix}"
    )


def read_dotenv(root: Path) -> dict[str, str]:
    """What the project's .env sets, as far as this module needs it: plain NAME=value lines."""
    path = root / ".env"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    line = r"""(?m)^[ \t]*(?:export )?(\w+)[ \t]*=[ \t]*["']?([^\s"'#]*)"""
    return dict(re.findall(line, text))


def read_places(configuration: Path) -> int:
    """How many replicas the gateway has places for, as modelyard.rollout reads it."""
    text = configuration.read_text(encoding="utf-8") if configuration.is_file() else ""
    found = re.findall(r"(?m)^\s*server-template\s+\S+\s+1-(\d+)\s+serving:", text)
    return min(map(int, found), default=DEFAULT_PLACES)


def choose_compose_file(facts: Facts, chosen: str, *, has_override: bool) -> str:
    """COMPOSE_FILE for training: what the user chose, and the CPU overlay where it is needed."""
    default = [BASE_FILE, OVERRIDE_FILE] if has_override else [BASE_FILE]
    files = chosen.split(os.pathsep) if chosen else default
    if not can_use_gpu(facts) and CPU_OVERLAY not in map(os.path.basename, files):
        files.insert(1, CPU_OVERLAY)
    return os.pathsep.join(files)


def look(root: Path, settings: Mapping[str, str]) -> Facts:
    """Find out what the host looks like; never fails, never changes anything."""
    ports = {
        name: int(value) if (value := settings.get(name, "")).isdigit() else default
        for name, default in DEFAULT_PORTS.items()
    }
    engine, engine_error = _run("docker", "version", "--format", "{{.Server.Version}}")
    compose, _ = _run("docker", "compose", "version", "--short")
    info_text, _ = _run("docker", "info", "--format", "{{json .}}")
    info: dict[str, Any] = json.loads(info_text) if engine and info_text else {}
    driver, _ = _run("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    return Facts(
        docker_cli=shutil.which("docker") is not None,
        engine=engine or None,
        engine_error=engine_error,
        compose=compose or None,
        port_holders={name: (port, _port_holder(port, root)) for name, port in ports.items()},
        free_disk_bytes=_free_disk(info.get("DockerRootDir", ""), root),
        memory_bytes=info.get("MemTotal"),
        gpu_driver=driver.splitlines()[0] if driver else None,
        engine_knows_nvidia=_knows_nvidia(info),
        unreadable=_unreadable(root / "configs"),
        settings={name: settings.get(name) or own for name, own in DEFAULT_SETTINGS.items()},
        places=read_places(root / GATEWAY_FILE),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the findings, or only COMPOSE_FILE for training; 1 when a needed check fails."""
    parser = argparse.ArgumentParser(description="Can this machine run the stack?")
    parser.add_argument("--compose-file", action="store_true", help="print COMPOSE_FILE only")
    parser.add_argument("--json", action="store_true", help="the checks as JSON")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="the project's folder")
    arguments = parser.parse_args(argv)
    root = arguments.root.resolve()
    settings = {**read_dotenv(root), **os.environ}
    facts = look(root, settings)
    if arguments.compose_file:
        has_override = (root / OVERRIDE_FILE).is_file()
        chosen = settings.get("COMPOSE_FILE", "")
        print(choose_compose_file(facts, chosen, has_override=has_override))
        return 0
    findings = judge(facts)
    failed = [finding for finding in findings if finding.needed and not finding.ok]
    if arguments.json:
        checks = [finding._asdict() for finding in findings]
        print(json.dumps({"ready": not failed, "checks": checks}, indent=2, ensure_ascii=False))
        return 1 if failed else 0
    print("\n".join(map(render, findings)))
    print(f"\n{len(failed)} to mend" if failed else "\nready: docker compose up -d --wait")
    return 1 if failed else 0


def _run(*command: str) -> tuple[str, str]:
    """Standard output and the last line of the error output; both empty for no such command."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return "", ""
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    error_lines = done.stderr.strip().splitlines()
    return (done.stdout.strip() if done.returncode == 0 else ""), (error_lines or [""])[-1]


def _port_holder(port: int, root: Path) -> str:
    """Who listens on the loopback port: nobody (empty), this stack, or a name as good as known."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return f"nobody, but it cannot be bound ({error.strerror})"
        else:
            return ""
    label = '{{.Label "com.docker.compose.project.working_dir"}}'
    listing, _ = _run("docker", "ps", "--format", "{{.Ports}}\t{{.Names}}\t" + label)
    for line in listing.splitlines():
        ports, name, folder = [*line.split("\t"), "", ""][:3]
        if f":{port}->" in ports:
            return OWN_STACK if folder and Path(folder) == root else f"container {name}"
    return "another program"


def _free_disk(docker_root: str, root: Path) -> int:
    here = docker_root and Path(docker_root).is_dir()  # an engine elsewhere keeps them elsewhere
    return shutil.disk_usage(docker_root if here else root).free


def _knows_nvidia(info: Mapping[str, Any]) -> bool:
    devices = [str(device.get("ID", "")) for device in info.get("DiscoveredDevices") or []]
    return (
        "nvidia" in (info.get("Runtimes") or {})
        or any(device.startswith("nvidia.com/gpu") for device in devices)
        or any(map(shutil.which, ("nvidia-container-runtime-hook", "nvidia-ctk")))
    )


def _unreadable(folder: Path) -> list[str]:
    found = []
    for path in [folder, *folder.rglob("*")] if folder.is_dir() else []:
        needed = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
        if path.stat().st_mode & needed != needed:
            found.append(str(path.relative_to(folder.parent)))
    return found


def _seconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else None


def _at_least(version: str | None, minimum: tuple[int, int]) -> bool:
    match = re.search(r"(\d+)\.(\d+)", version or "")
    return match is not None and (int(match[1]), int(match[2])) >= minimum


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


if __name__ == "__main__":
    sys.exit(main())
