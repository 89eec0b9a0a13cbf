"""The rolling update: new replicas beside the old ones, ready before an old one goes.

Everything is derived from the containers there are, nothing is remembered: an update that was
interrupted, by whatever means, goes on from what it finds when it is run again. With the change
taken back first, it goes back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from modelyard.errors import ExitCode, ModelyardError
from modelyard.host.docker import DockerError
from modelyard.host.rollout import replicas
from modelyard.host.rollout.replicas import Container, ServiceSpec

READY, LIVE = "/health", "/livez"
SETTLE_S = 2.0
"""The gateway asks Docker's DNS and each replica every half second: after that it knows them."""

_PAUSE_S = 0.5
_LOG_LINES = 20


class RejectedError(ModelyardError):
    """New replicas did not become ready, and were removed: which, why, and the end of its log."""

    title = "The rollout went back"
    exit_code = ExitCode.FAILED


class Update:
    """One update of the service to its spec.

    Args:
        spec: what every replica shall be.
        places: how many replicas the gateway can know at once, old and new together.
        timeout_s: within it the replicas that are started together have to be ready.
        report: gets each step, a word and a sentence.
    """

    def __init__(
        self, spec: ServiceSpec, places: int, timeout_s: float, report: Callable[[str, str], None]
    ) -> None:
        self._spec = spec
        self._places = places
        self._timeout_s = timeout_s
        self._report = report
        self._new: list[Container] = []
        self._old: list[Container] = []
        self._started: list[Container] = []
        self._seen_ready: set[str] = set()
        self._has_drained = False
        self._path = READY

    def run(self) -> bool:
        """Do it; False when there was nothing to do.

        Raises:
            RejectedError: the new ones were not ready in time, and are gone again.
            DockerError: a docker command failed.
        """
        for container in replicas.find_replicas(self._spec.project):
            if container.state in ("created", "exited", "dead"):
                replicas.remove(container)  # left by an update that was interrupted, or by a stop
            elif self._spec.is_met_by(container):
                self._new.append(container)
            else:
                self._old.append(container)
        if len(self._new) == self._spec.replicas and not self._old:
            return False
        if not any(replicas.answers(container, READY) for container in (*self._old, *self._new)):
            self._path = LIVE  # there is no model to be ready with
        try:
            self._surge()
            if self._old and not self._started:
                time.sleep(SETTLE_S)  # an interrupted update started them, no telling when
            for container in (*self._old, *self._new[self._spec.replicas :]):
                self._wait(self._new)
                self._drain(container)
        except (RejectedError, DockerError):
            self._go_back()
            raise
        return True

    def _surge(self) -> None:
        """Start what is missing, all at once or as many as the gateway has places for."""
        while (missing := self._spec.replicas - len(self._new)) > 0:
            room = self._places - len(self._new) - len(self._old)
            if room < 1:
                self._drain(self._old[0])
                continue
            count = min(missing, room)
            known = {container.id for container in (*self._old, *self._new)}
            self._report("starting", f"{count} new beside {len(self._old)} old")
            try:
                replicas.start_replicas(len(known) + count)
            finally:  # also those of a start that failed half way have to be known, to be removed
                found = replicas.find_replicas(self._spec.project)
                wave = [container for container in found if container.id not in known]
                self._new += wave
                self._started += wave
            self._wait(wave)
            time.sleep(SETTLE_S)
            if len(self._new) < self._spec.replicas:
                for container in self._old[: len(wave)]:
                    self._drain(container)

    def _wait(self, containers: Sequence[Container]) -> None:
        """Until every one of them is ready."""
        began = time.monotonic()
        waiting = {container.id: container for container in containers}
        started = {container.id for container in self._started}
        while waiting:
            found = replicas.find_replicas(self._spec.project)
            for gone in waiting.keys() - {container.id for container in found}:
                raise _rejected(waiting[gone], "was removed by someone else")
            for container in found:
                if container.id not in waiting:
                    continue
                if container.has_ended and container.id in started:
                    code = f" with code {container.exit_code}" if container.exit_code else ""
                    raise _rejected(container, f"ended{code}")
                if replicas.answers(container, self._path):
                    del waiting[container.id]
                    if container.id not in self._seen_ready:
                        self._seen_ready.add(container.id)
                        seconds = time.monotonic() - began
                        self._report("ready", f"{container.name}, {seconds:.1f} s")
            if waiting and time.monotonic() - began > self._timeout_s:
                late = next(iter(waiting.values()))
                raise _rejected(late, f"was not ready within {self._timeout_s:.0f} s")
            if waiting:
                time.sleep(_PAUSE_S)

    def _drain(self, container: Container) -> None:
        began = time.monotonic()
        replicas.drain(container)
        self._has_drained = True
        for group in (self._old, self._new):
            if container in group:
                group.remove(container)
        seconds = time.monotonic() - began
        self._report("removed", f"{container.name}, drained in {seconds:.1f} s")

    def _go_back(self) -> None:
        """Remove what this update started; once an old one has gone, only what is not ready."""
        for container in list(self._new):
            may_stay = self._has_drained or container not in self._started
            if may_stay and replicas.answers(container, self._path):
                continue
            replicas.remove(container)
            self._new.remove(container)
            self._report("removed", f"{container.name}, not ready")


def _rejected(container: Container, what: str) -> RejectedError:
    log = replicas.last_lines(container, _LOG_LINES) or ["(nothing)"]
    lines = [f"{container.name} {what}. The last lines of its log:", *(f"    {x}" for x in log)]
    return RejectedError(
        "\n".join(lines),
        fix="`docker compose up -d` would start it again, in place of the old ones. Before that, "
        "fix it, or take the change of SERVING_IMAGE or of the settings back.",
    )
