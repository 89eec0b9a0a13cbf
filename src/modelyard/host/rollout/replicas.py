"""The replicas of one service of a Compose project, by the commands that a person would use."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from modelyard.host import docker
from modelyard.host.docker import DockerError

SERVICE = "serving"
_PROBE_TIMEOUT_S = 15.0
_LABEL = "com.docker.compose."


@dataclass(frozen=True)
class Container:
    """One replica, as the engine describes it."""

    id: str
    name: str
    state: str
    """created, running, paused, restarting, removing, exited or dead"""
    image_id: str
    config_hash: str
    """Compose's own: changes with the settings that need another container."""
    restarts: int
    exit_code: int
    """0 while it runs, even if it has run and ended before."""
    number: int

    @classmethod
    def of(cls, facts: dict[str, Any]) -> Container:
        """Out of what `docker inspect` prints of one container."""
        labels = facts["Config"]["Labels"]
        return cls(
            id=facts["Id"],
            name=facts["Name"].lstrip("/"),
            state=facts["State"]["Status"],
            image_id=facts["Image"],
            config_hash=labels.get(_LABEL + "config-hash", ""),
            restarts=facts["RestartCount"],
            exit_code=facts["State"]["ExitCode"],
            number=int(labels.get(_LABEL + "container-number", 0)),
        )

    @property
    def has_ended(self) -> bool:
        """Whether its process ended by itself, even where the engine has started it again."""
        return self.restarts > 0 or self.state in ("restarting", "exited", "dead")


@dataclass(frozen=True)
class ServiceSpec:
    """What the Compose files and the environment want the service to be."""

    project: str
    replicas: int
    image: str
    image_id: str
    """Empty when the image is not here."""
    config_hash: str
    can_build: bool

    def is_met_by(self, container: Container) -> bool:
        """Whether `docker compose up -d` would leave this container alone."""
        return (container.image_id, container.config_hash) == (self.image_id, self.config_hash)


def read_spec() -> ServiceSpec:
    """Ask Compose, which reads COMPOSE_FILE, .env and the environment.

    Raises:
        DockerError: there is no Compose, no valid project here, or no such service in it.
    """
    config: dict[str, Any] = json.loads(docker.capture("compose", "config", "--format", "json"))
    try:
        service = config["services"][SERVICE]
    except KeyError:
        raise DockerError(
            f"Expected the service {SERVICE} in the Compose files, found none.",
            fix="`docker compose config --services` lists what they have.",
        ) from None
    replicas = service.get("scale", service.get("deploy", {}).get("replicas", 1))
    hashes = docker.capture("compose", "config", "--hash", SERVICE).split()
    try:
        image_id = docker.capture("image", "inspect", "--format", "{{.Id}}", service["image"])
    except DockerError:
        image_id = ""
    return ServiceSpec(
        project=config["name"],
        replicas=int(replicas),
        image=service["image"],
        image_id=image_id.strip(),
        config_hash=hashes[-1],
        can_build="build" in service,
    )


def build_image() -> None:
    """Build the service's image; the output goes to the terminal."""
    docker.show("compose", "build", SERVICE)


def pull_image() -> None:
    """Fetch the service's image where its pull policy allows that."""
    docker.capture("compose", "pull", "--quiet", SERVICE)


def name_image(image: str, target_id: str) -> None:
    """Let the name `image` stand for `target_id`."""
    docker.capture("tag", target_id, image)


def forget_image(image: str) -> None:
    """Remove a name, and its image where that was the last one and nothing runs from it."""
    docker.capture("image", "rm", "--force", image)


def find_replicas(project: str) -> list[Container]:
    """Every container of the service in any state, the oldest first."""
    listing = docker.capture(
        *("ps", "--all", "--quiet", "--no-trunc"),
        *("--filter", f"label={_LABEL}project={project}"),
        *("--filter", f"label={_LABEL}service={SERVICE}"),
        *("--filter", f"label={_LABEL}oneoff=False"),
    )
    found: list[Container] = []
    for one in listing.split():
        try:
            found += map(Container.of, json.loads(docker.capture("inspect", one)))
        except DockerError:  # it has been removed since
            continue
    return sorted(found, key=lambda container: container.number)


def start_replicas(count: int) -> None:
    """Start what is missing of `count` containers in all, each as the spec wants it."""
    docker.capture(
        *("compose", "up", "--detach", "--no-deps", "--no-recreate", "--no-build"),
        *("--scale", f"{SERVICE}={count}", SERVICE),
    )


def drain(container: Container) -> None:
    """Ask it to end, which it does when its requests are answered, and remove it."""
    if container.state == "paused":
        docker.capture("unpause", container.id)
    docker.capture("stop", container.id)  # for at most the stop_grace_period it was made with
    remove(container)


def remove(container: Container) -> None:
    """Remove it, whatever it does."""
    docker.capture("rm", "--force", container.id)


def answers(container: Container, path: str) -> bool:
    """Whether its server answers `GET path` with a 2xx, asked from within."""
    probe = ("python", "-m", "modelyard.serving.probe", path)
    try:
        docker.capture("exec", container.id, *probe, timeout_s=_PROBE_TIMEOUT_S)
    except DockerError:
        return False
    return True


def last_lines(container: Container, lines: int) -> list[str]:
    """The end of its log; where that cannot be read, why."""
    try:
        log = docker.capture("logs", "--tail", str(lines), container.id, with_errors=True)
    except DockerError as error:
        log = error.detail
    return log.splitlines()
