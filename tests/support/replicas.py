"""The replicas behind the gateway: what it knows of them, and what is done to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from support.stack_driver import Stack, run, wait_for

# PID 1 is the init that Compose adds: its child is the server
KILL = "kill -9 $(cat /proc/1/task/1/children)"
_ASK_GATEWAY = (
    "exec 3<>/dev/tcp/127.0.0.1/8404; "
    "printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; grep ^haproxy_backend_active_servers <&3"
)

_ASK_MODEL = (
    "import json, urllib.request as u; "
    "print(json.load(u.urlopen('http://127.0.0.1:8000/model', timeout=5))['version'])"
)


def ready_replicas(stack: Stack) -> int:
    """How many servers the gateway knows to be ready; 0 while it is not there."""
    said = stack.compose("exec", "-T", "gateway", "bash", "-c", _ASK_GATEWAY, check=False).stdout
    lines = [line for line in said.splitlines() if 'proxy="ready"' in line]
    return int(float(lines[0].split()[-1])) if lines else 0


def wait_until_ready(stack: Stack, replicas: int) -> None:
    """Until the gateway knows exactly so many."""
    wait_for(f"{replicas} ready replicas", lambda: ready_replicas(stack) == replicas)


def replica_names(stack: Stack) -> list[str]:
    """The containers' names, sorted."""
    return sorted(c["Name"].removeprefix("/") for c in stack.containers("serving"))


def docker(*words: str) -> str:
    """A docker command that has to go well; returns what it printed."""
    done = run("docker", *words)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout


def served_by(name: str) -> str:
    """The version that one replica serves; empty while it serves none."""
    return run("docker", "exec", name, "python", "-c", _ASK_MODEL).stdout.strip()


def wait_until_served(stack: Stack, version: str) -> None:
    """Until every replica serves `version`."""
    names = replica_names(stack)
    wait_for(
        f"version {version} everywhere", lambda: {served_by(n) for n in names} == {version}, 60
    )


def kill_server(name: str) -> None:
    """SIGKILL to the server's process; the engine starts the container again."""
    docker("exec", name, "sh", "-c", KILL)


@contextmanager
def paused(name: str) -> Iterator[None]:
    """Silent for a while: connections stay open, nothing answers."""
    docker("pause", name)
    try:
        yield
    finally:
        docker("unpause", name)


@contextmanager
def silent_starters(stack: Stack, number: int) -> Iterator[None]:
    """So many more replicas that DNS knows at once, and that do not listen."""
    image = stack.environment()["SERVING_IMAGE"]
    network = ("--network", f"{stack.project}_inside", "--network-alias", "serving")
    ids: list[str] = []
    try:
        for _ in range(number):
            ids += docker("create", "--init", *network, image, "sleep", "300").split()
        docker("start", *ids)
        yield
    finally:
        run("docker", "rm", "--force", *ids)


@contextmanager
def cut_off(stack: Stack, name: str) -> Iterator[None]:
    """Without its network for a while: its connections vanish without a word."""
    network = f"{stack.project}_inside"
    docker("network", "disconnect", network, name)
    try:
        yield
    finally:
        docker("network", "connect", "--alias", "serving", network, name)
