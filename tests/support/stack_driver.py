"""Driving a real stack: Compose commands, HTTP requests and a look into containers."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from support.network import free_port

ROOT = Path(__file__).parents[2]
OFFLINE = os.environ.get("MODELYARD_OFFLINE") == "1"
ADVERSE = {"amount": 500, "merchant_category": "electronics", "hour": 23}
RUNNING = ("db", "storage", "mlflow", "registry-door", "serving", "gateway")
COMPOSE_TIMEOUT_S = 1500
PATIENCE_S = 300  # on a machine ten times slower than ours
SMOKE = ("--config", "configs/train-smoke.yaml")
FIGURES: list[str] = []  # what was measured on the way; the summary shows it


def engine_version() -> str:
    """The engine's version; empty when none answers."""
    try:
        return run(
            "docker", "version", "--format", "{{.Server.Version}}", timeout_s=20
        ).stdout.strip()
    except OSError:
        return ""


def run(*command: str, timeout_s: float = 120, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command and keep what it says."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, **options
    )


def compose_files(*, gpu: bool = False, root: Path = ROOT) -> str:
    """COMPOSE_FILE for this machine: stand-ins where no registry is reached."""
    files = ["docker-compose.yml"]
    if not gpu:
        files.append("docker-compose.cpu.yml")
    if OFFLINE:
        files.append("ci/docker/compose.offline.yml")
    return os.pathsep.join(str(root / file) for file in files)


def wait_for(what: str, condition: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
    """Ask until the answer is true; fail with `what` when it never is."""
    deadline = time.monotonic() + timeout_s
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.2)


@dataclass
class Stack:
    """One Compose project of its own name, ports and image tags, beside whatever else runs."""

    project: str
    mlflow_port: int = field(default_factory=free_port)
    gateway_port: int = field(default_factory=free_port)
    root: Path = ROOT
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mlflow_url = f"http://127.0.0.1:{self.mlflow_port}"
        self.mlflow = httpx.Client(base_url=self.mlflow_url, timeout=30)
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.gateway_port}", timeout=30)

    def environment(self, **changes: str) -> dict[str, str]:
        """What Compose sees; the images have tags of their own, a user's stay what they are."""
        images = {
            f"{name}_IMAGE": f"modelyard/{tag}:test"
            for name, tag in (("SECRETS", "secrets"), ("MLFLOW", "mlflow"), ("SERVING", "serving"))
        }
        return {
            **os.environ,
            **images,
            "TRAINING_CPU_IMAGE": "modelyard/training:test",
            "DATASET_IMAGE": "modelyard/dataset:test",
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_FILE": compose_files(root=self.root),
            "COMPOSE_PROGRESS": "plain",
            "MLFLOW_PORT": str(self.mlflow_port),
            "GATEWAY_PORT": str(self.gateway_port),
            "GIT_COMMIT": "0123456789abcdef0123456789abcdef01234567",
            **self.settings,
            **changes,
        }

    def compose(
        self, *arguments: str, check: bool = True, timeout_s: float = COMPOSE_TIMEOUT_S, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """`docker compose ...`; with `check` a failure shows what it said."""
        done = run(
            "docker",
            "compose",
            *arguments,
            cwd=self.root,
            env=self.environment(**env),
            timeout_s=timeout_s,
        )
        if check and done.returncode != 0:
            said = (done.stdout + done.stderr)[-6000:]
            raise AssertionError(f"docker compose {' '.join(arguments)}: {done.returncode}\n{said}")
        return done

    def up(self) -> float:
        """Start everything and wait until it is healthy; returns the seconds that took."""
        start = time.monotonic()
        self.compose("up", "-d", "--wait")
        return time.monotonic() - start

    def train(
        self, *arguments: str, options: tuple[str, ...] = (), check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """The README's training command."""
        return self.compose(
            "--profile", "train", "run", "--rm", *options, "training", *arguments, check=check
        )

    def python(self, service: str, code: str) -> str:
        """Run Python in the container of a service; returns what it printed."""
        return self.compose("exec", "-T", service, "python", "-c", code).stdout

    def inside(self, method: str, path: str, **headers: str) -> int:
        """The status with which serving answers on the stack's own network."""
        code = (
            "import urllib.request, urllib.error\n"
            f"asked = urllib.request.Request('http://serving:8000{path}', method={method!r}, "
            f"headers={headers!r})\n"
            "try: print(urllib.request.urlopen(asked, timeout=20).status)\n"
            "except urllib.error.HTTPError as error: print(error.code)\n"
        )
        return int(self.python("serving", code))

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        """`docker inspect` of the project's containers."""
        chosen = ["--filter", f"label=com.docker.compose.project={self.project}"]
        if service:
            chosen += ["--filter", f"label=com.docker.compose.service={service}"]
        ids = run("docker", "ps", "--all", "--quiet", *chosen).stdout.split()
        return json.loads(run("docker", "inspect", *ids).stdout) if ids else []

    def leftovers(self) -> list[str]:
        """Every container, volume and network that carries the project's label."""
        label = f"label=com.docker.compose.project={self.project}"
        return [
            line
            for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls"))
            for line in run("docker", *kind, "--quiet", "--filter", label).stdout.split()
        ]

    def predict(self) -> httpx.Response:
        """The README's request."""
        return self.api.post("/predict", json=ADVERSE)

    def version(self) -> str:
        """The version of the model that answers; empty while none does."""
        try:
            return self.predict().headers.get("x-model-version", "")
        except httpx.TransportError:  # the connection went with the server that was killed
            return ""

    @contextmanager
    def stopped(self, *services: str, how: str = "kill") -> Iterator[None]:
        """Without these services for a while: killed, or paused so that they stay silent.

        A kill and not a stop: the store takes a quarter of a minute to end in peace.
        """
        self.compose(how, *services)
        try:
            yield
        finally:
            self.compose("unpause" if how == "pause" else "start", *services)
            for service in services:
                wait_for(f"a healthy {service}", lambda name=service: self.healthy(name))

    def remove(self) -> None:
        """Take everything of the project away, volumes too."""
        everything = ("--profile", "*")
        self.compose(*everything, "kill", check=False)  # nothing of it is needed any more
        self.compose(*everything, "down", "--volumes", "--remove-orphans", "--timeout", "10")

    def healthy(self, service: str) -> bool:
        """Whether every container of the service is healthy."""
        states = [container["State"] for container in self.containers(service)]
        return bool(states) and all(state["Health"]["Status"] == "healthy" for state in states)

    def save_logs(self, folder: Path) -> None:
        """Keep what the containers said, for whoever looks into a failure."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, command in {
            "logs.txt": ("--profile", "train", "logs", "--no-color", "--timestamps"),
            "ps.txt": ("--profile", "train", "ps", "--all"),
        }.items():
            (folder / name).write_text(self.compose(*command, check=False).stdout)
