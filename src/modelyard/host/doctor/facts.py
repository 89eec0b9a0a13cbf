"""What the host looks like, found out without changing anything."""

from __future__ import annotations

import errno
import json
import re
import shutil
import socket
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelyard.host import docker
from modelyard.host.rollout.places import DEFAULT_PLACES, read_places

PORTS = ("GATEWAY_PORT", "MLFLOW_PORT")
COMPARED = ("SERVING_REPLICAS", "SERVING_REQUEST_TIMEOUT_S", "GATEWAY_SERVER_TIMEOUT_S")
CPU_LIMITS = tuple(
    f"{service}_CPUS" for service in ("SERVING", "TRAINING", "GATEWAY", "MLFLOW", "DB", "STORAGE")
)
EXAMPLE_FILE = ".env.example"  # has the default of every variable
GATEWAY_FILE = "configs/gateway/haproxy.cfg"
OWN_STACK = "this stack"
_COMMAND_TIMEOUT_S = 15


@dataclass(frozen=True)
class Facts:
    """What the host looks like; None for what could not be found out."""

    docker_cli: bool = False
    engine: str | None = None
    engine_error: str = ""
    compose: str | None = None
    port_holders: Mapping[str, tuple[int, str]] = field(default_factory=dict)  # "" is a free port
    free_disk_bytes: int | None = None
    memory_bytes: int | None = None
    cpus: int | None = None
    gpu_driver: str | None = None
    engine_knows_nvidia: bool = False
    unreadable: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    places: int = DEFAULT_PLACES  # for replicas, in the gateway's configuration


def look(root: Path, settings: Mapping[str, str]) -> Facts:
    """Find out what the host looks like; never fails, never changes anything.

    Args:
        settings: what the environment and .env set; an empty value counts as none.
    """
    defaults = read_example(root)
    ports = {
        name: int(next(filter(str.isdecimal, (settings.get(name, ""), defaults[name]))))
        for name in PORTS
        if name in defaults
    }
    engine, engine_error = _ask_docker("version", "--format", "{{.Server.Version}}")
    compose, _ = _ask_docker("compose", "version", "--short")
    info_text, _ = _ask_docker("info", "--format", "{{json .}}")
    info: dict[str, Any] = json.loads(info_text) if engine and info_text else {}
    images = info.get("DockerRootDir", "")  # of an engine elsewhere, it is not a folder here
    disk = images if images and Path(images).is_dir() else root
    return Facts(
        docker_cli=shutil.which("docker") is not None,
        engine=engine or None,
        engine_error=engine_error,
        compose=compose or None,
        port_holders={name: (port, _port_holder(port, root)) for name, port in ports.items()},
        free_disk_bytes=shutil.disk_usage(disk).free,
        memory_bytes=info.get("MemTotal"),
        cpus=info.get("NCPU"),
        gpu_driver=_gpu_driver(),
        engine_knows_nvidia=_knows_nvidia(info),
        unreadable=_unreadable(root / "configs"),
        settings={
            name: settings.get(name) or defaults[name]
            for name in (*COMPARED, *CPU_LIMITS)
            if name in defaults
        },
        places=read_places(root / GATEWAY_FILE),
    )


def read_example(root: Path) -> dict[str, str]:
    """The default of every variable, as .env.example has it; empty when there is no such file."""
    path = root / EXAMPLE_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"(?m)^#([A-Z]\w*)=(.+)$", text))


def read_dotenv(root: Path) -> dict[str, str]:
    """What the project's .env sets, as far as this module needs it: plain NAME=value lines."""
    path = root / ".env"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    line = r"""(?m)^[ \t]*(?:export )?(\w+)[ \t]*=[ \t]*["']?([^\s"'#]*)"""
    return dict(re.findall(line, text))


def _ask_docker(*words: str) -> tuple[str, str]:
    """What `docker WORDS` prints, and how it failed; both are empty where there is no docker."""
    try:
        return docker.capture(*words, timeout_s=_COMMAND_TIMEOUT_S).strip(), ""
    except docker.DockerNotFoundError:
        return "", ""
    except docker.DockerError as error:
        return "", error.detail.splitlines()[-1]


def _gpu_driver() -> str | None:
    """Version of the NVIDIA driver; None where `nvidia-smi` is missing, fails or hangs."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.strip().splitlines()), None)


def _port_holder(port: int, root: Path) -> str:
    """What listens on the loopback port: this stack, another by name, or nothing (empty)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return f"nothing, but it cannot be bound ({error.strerror})"
        else:
            return ""
    label = '{{.Label "com.docker.compose.project.working_dir"}}'
    listing, _ = _ask_docker("ps", "--format", "{{.Ports}}\t{{.Names}}\t" + label)
    for line in listing.splitlines():
        ports, name, folder = [*line.split("\t"), "", ""][:3]
        if f":{port}->" in ports:
            return OWN_STACK if folder and Path(folder) == root else f"container {name}"
    return "another program"


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
