"""The rolling update: new replicas beside the old ones, ready before an old one goes.

Everything is derived from the containers there are, nothing is remembered: whoever interrupts an
update, by whatever means, runs it again, and it goes on from what it finds. Whoever takes the
change back first and runs it again goes back.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Callable  # noqa: UP035 - Python 3.8

from modelyard.host.rollout import replicas as compose
from modelyard.host.rollout.replicas import DockerError, Replica, Wanted

READY, LIVE = "/health", "/livez"
SETTLE_S = 2.0
"""The gateway asks Docker's DNS and each replica every half second: after that it knows them."""

_PAUSE_S = 0.5
_LOG_LINES = 20

Say = Callable[[str, str], None]


class RejectedError(Exception):
    """New replicas did not become ready; the sentence says which and why."""

    def __init__(self, why: str, log: Sequence[str]) -> None:
        super().__init__(why)
        self.log = log


class Update:
    """One update of the service to what is wanted.

    Args:
        wanted: what every replica shall be.
        places: how many replicas the gateway can know at once, old and new together.
        timeout_s: within it the replicas that are started together have to be ready.
        say: gets each step, a word and a sentence.
    """

    def __init__(self, wanted: Wanted, places: int, timeout_s: float, say: Say) -> None:
        self._wanted = wanted
        self._places = places
        self._timeout_s = timeout_s
        self._say = say
        self._new: list[Replica] = []
        self._old: list[Replica] = []
        self._started: list[Replica] = []
        self._seen_ready: set[str] = set()
        self._has_drained = False
        self._path = READY

    def run(self) -> bool:
        """Do it; False when there was nothing to do.

        Raises:
            RejectedError: the new ones were not ready in time, and are gone again.
            DockerError: a docker command failed.
        """
        self._look()
        missing = self._wanted.replicas - len(self._new)
        if not missing and not self._old:
            return False
        if not any(compose.answers(replica, READY) for replica in (*self._old, *self._new)):
            self._path = LIVE  # there is no model to be ready with
        try:
            self._surge()
            if self._old and not self._started:
                time.sleep(SETTLE_S)  # an interrupted update has started them: who knows when
            for replica in (*self._old, *self._new[self._wanted.replicas :]):
                self._wait(self._new)
                self._drain(replica)
        except (RejectedError, DockerError):
            self._go_back()
            raise
        return True

    def _look(self) -> None:
        for replica in compose.find_replicas(self._wanted.project):
            if replica.state in ("created", "exited", "dead"):
                compose.remove(replica)  # left by an update that was interrupted, or by a stop
            elif self._wanted.is_met_by(replica):
                self._new.append(replica)
            else:
                self._old.append(replica)

    def _surge(self) -> None:
        """Start what is missing, all at once or as many as the gateway has places for."""
        while (missing := self._wanted.replicas - len(self._new)) > 0:
            room = self._places - len(self._new) - len(self._old)
            if room < 1:
                self._drain(self._old[0])
                continue
            wave = self._start(min(missing, room))
            self._wait(wave)
            time.sleep(SETTLE_S)
            if len(self._new) < self._wanted.replicas:
                for replica in self._old[: len(wave)]:
                    self._drain(replica)

    def _start(self, number: int) -> list[Replica]:
        known = {replica.id for replica in (*self._old, *self._new)}
        self._say("starting", f"{number} new beside {len(self._old)} old")
        try:
            compose.start(len(known) + number)
        finally:  # also those of a start that failed half way have to be known, to be removed
            wave = [
                replica
                for replica in compose.find_replicas(self._wanted.project)
                if replica.id not in known
            ]
            self._new += wave
            self._started += wave
        return wave

    def _wait(self, replicas: Sequence[Replica]) -> None:
        """Until every one of them is ready."""
        began = time.monotonic()
        waiting = {replica.id: replica for replica in replicas}
        started = {replica.id for replica in self._started}
        while waiting:
            found = compose.find_replicas(self._wanted.project)
            for gone in waiting.keys() - {replica.id for replica in found}:
                raise self._rejected(waiting[gone], "was removed by somebody else")
            for replica in found:
                if replica.id not in waiting:
                    continue
                if replica.has_ended and replica.id in started:
                    code = f" with code {replica.exit_code}" if replica.exit_code else ""
                    raise self._rejected(replica, f"ended{code}")
                if compose.answers(replica, self._path):
                    del waiting[replica.id]
                    if replica.id not in self._seen_ready:
                        self._seen_ready.add(replica.id)
                        self._say("ready", f"{replica.name}, {time.monotonic() - began:.1f} s")
            if waiting and time.monotonic() - began > self._timeout_s:
                replica = next(iter(waiting.values()))
                raise self._rejected(replica, f"was not ready within {self._timeout_s:.0f} s")
            if waiting:
                time.sleep(_PAUSE_S)

    def _drain(self, replica: Replica) -> None:
        began = time.monotonic()
        compose.drain(replica)
        self._has_drained = True
        for group in (self._old, self._new):
            if replica in group:
                group.remove(replica)
        self._say("removed", f"{replica.name}, drained in {time.monotonic() - began:.1f} s")

    def _go_back(self) -> None:
        """Remove what this update started; once an old one has gone, only what is not ready."""
        for replica in list(self._new):
            may_stay = self._has_drained or replica not in self._started
            if may_stay and compose.answers(replica, self._path):
                continue
            compose.remove(replica)
            self._new.remove(replica)
            self._say("removed", f"{replica.name}, not ready")

    @staticmethod
    def _rejected(replica: Replica, what: str) -> RejectedError:
        log = compose.last_lines(replica, _LOG_LINES)
        return RejectedError(f"{replica.name} {what}", log)
