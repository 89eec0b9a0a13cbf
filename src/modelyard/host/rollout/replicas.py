"""The replicas of one service of a Compose project, by the commands that a person would use."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SERVICE = "serving"
_COMMAND_TIMEOUT_S = 300
_PROBE_TIMEOUT_S = 15
_LABEL = "com.docker.compose."


class DockerError(Exception):
    """A docker command failed; says which one, and what it said."""


@dataclass(frozen=True)
class Replica:
    """One container of the service, as the engine describes it."""

    id: str
    name: str
    state: str
    """created, running, paused, restarting, removing, exited or dead"""
    image_id: str
    config_hash: str
    """Compose's own: what of the settings makes it another container."""
    restarts: int
    exit_code: int
    """0 while it runs, also when it has run and ended before."""
    number: int

    @property
    def has_ended(self) -> bool:
        """Whether its process ended by itself, even where the engine has started it again."""
        return self.restarts > 0 or self.state in ("restarting", "exited", "dead")


@dataclass(frozen=True)
class Wanted:
    """What the Compose files and the environment say now."""

    project: str
    replicas: int
    image: str
    image_id: str
    """Empty when the image is not here."""
    config_hash: str
    can_build: bool

    def is_met_by(self, replica: Replica) -> bool:
        """Whether `docker compose up -d` would leave this container alone."""
        return (replica.image_id, replica.config_hash) == (self.image_id, self.config_hash)


def read_wanted() -> Wanted:
    """Ask Compose, which reads COMPOSE_FILE, .env and the environment.

    Raises:
        DockerError: there is no Compose, no valid project here, or no such service in it.
    """
    config: dict[str, Any] = json.loads(_run("docker", "compose", "config", "--format", "json"))
    try:
        service = config["services"][SERVICE]
    except KeyError:
        raise DockerError(f"the Compose files have no service {SERVICE}") from None
    replicas = service.get("scale", service.get("deploy", {}).get("replicas", 1))
    hashes = _run("docker", "compose", "config", "--hash", SERVICE).split()
    return Wanted(
        project=config["name"],
        replicas=int(replicas),
        image=service["image"],
        image_id=image_id(service["image"]),
        config_hash=hashes[-1],
        can_build="build" in service,
    )


def image_id(image: str) -> str:
    """The id that a name stands for now; empty when there is no such image here."""
    try:
        return _run("docker", "image", "inspect", "--format", "{{.Id}}", image).strip()
    except DockerError:
        return ""


def build() -> None:
    """Build the service's image; its output goes to the terminal."""
    command = ["docker", "compose", "build", SERVICE]
    done = subprocess.run(command, check=False)  # noqa: S603 - our own words, no shell
    if done.returncode != 0:
        raise DockerError("the image could not be built; nothing has been changed")


def pull() -> None:
    """Fetch the service's image where its pull policy allows that."""
    _run("docker", "compose", "pull", "--quiet", SERVICE)


def name_image(image: str, target_id: str) -> None:
    """Let the name `image` stand for `target_id`."""
    _run("docker", "tag", target_id, image)


def forget_image(image: str) -> None:
    """Take a name away, and the image with it where that was its last and nothing runs from it."""
    _run("docker", "image", "rm", "--force", image)


def find_replicas(project: str) -> list[Replica]:
    """Every container of the service in any state, the oldest first."""
    listing = _run(
        *("docker", "ps", "--all", "--quiet", "--no-trunc"),
        *("--filter", f"label={_LABEL}project={project}"),
        *("--filter", f"label={_LABEL}service={SERVICE}"),
        *("--filter", f"label={_LABEL}oneoff=False"),
    )
    ids = listing.split()
    found = []
    for one in ids:
        try:
            found += [_replica(facts) for facts in json.loads(_run("docker", "inspect", one))]
        except DockerError:  # it has been removed since
            continue
    return sorted(found, key=lambda replica: replica.number)


def start(replicas: int) -> None:
    """Have so many containers altogether: those that are missing are made as they are wanted."""
    _run(
        *("docker", "compose", "up", "--detach", "--no-deps", "--no-recreate", "--no-build"),
        *("--scale", f"{SERVICE}={replicas}", SERVICE),
    )


def drain(replica: Replica) -> None:
    """Ask it to end, which it does when its requests are answered, and remove it."""
    if replica.state == "paused":
        _run("docker", "unpause", replica.id)
    _run("docker", "stop", replica.id)  # for at most the stop_grace_period it was made with
    remove(replica)


def remove(replica: Replica) -> None:
    """Remove it, whatever it does."""
    _run("docker", "rm", "--force", replica.id)


def answers(replica: Replica, path: str) -> bool:
    """Whether its server answers `GET path` with a 2xx, asked from within."""
    command = ["docker", "exec", replica.id, "python", "-m", "modelyard.serving.probe", path]
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            command, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def last_lines(replica: Replica, lines: int) -> list[str]:
    """The end of its log."""
    command = ["docker", "logs", "--tail", str(lines), replica.id]
    done = subprocess.run(  # noqa: S603 - as above
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout.splitlines()


def _replica(facts: dict[str, Any]) -> Replica:
    labels = facts["Config"]["Labels"]
    return Replica(
        id=facts["Id"],
        name=facts["Name"].lstrip("/"),
        state=facts["State"]["Status"],
        image_id=facts["Image"],
        config_hash=labels.get(_LABEL + "config-hash", ""),
        restarts=facts["RestartCount"],
        exit_code=facts["State"]["ExitCode"],
        number=int(labels.get(_LABEL + "container-number", 0)),
    )


def _run(*command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - as above
            command, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
    except OSError as error:
        raise DockerError(f"{command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise DockerError(f"{_words(command)} did not end") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
        raise DockerError("\n".join([f"{_words(command)} failed:", *said]))
    return done.stdout


def _words(command: Sequence[str]) -> str:
    return " ".join(word[:12] if len(word) == 64 else word for word in command)  # noqa: PLR2004
