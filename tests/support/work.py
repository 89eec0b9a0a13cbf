"""Work that goes on in a stack while it is broken, and what of it was acknowledged."""

from __future__ import annotations

import contextlib
import json
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import httpx
import requests
from mlflow.exceptions import MlflowException

from modelyard.errors import ModelyardError
from modelyard.registry import RegistryClient
from modelyard.registry.fetch import Verification, fetch
from modelyard.registry.moves import moves_of
from modelyard.registry.promotion import promote
from support.models.numbered import NAME, register_numbered
from support.replicas import replica_names
from support.split import traffic
from support.stack_driver import Stack, run
from support.traffic import Traffic, is_numbered, numbered_row

RATE = 40.0
PAUSE_S = 0.5
NOT_ACKNOWLEDGED = (
    ModelyardError,
    MlflowException,
    requests.RequestException,
    httpx.HTTPError,
    AssertionError,  # a command that failed, or a version with another number than expected
    ValueError,
)
_NEVER = "work-never"
_LOGGED = r"""
import re, sys
from pathlib import Path
files = [path for path in Path("/var/log/modelyard").iterdir() if path.is_file()]
logged = {one for path in files for one in re.findall(rb'"(work-\d+)"', path.read_bytes())}
print(*set(sys.stdin.read().split()) - {one.decode() for one in logged})
"""


class Work:
    """Predictions, registrations, promotions and changes of the split, from `with` on.

    Whatever fails was not acknowledged, and is done again. What went well has to be there
    afterwards.

    Args:
        stack: with three replicas of a numbered model, and `traffic`.
        versions: of it, which can be promoted.
    """

    def __init__(self, stack: Stack, versions: list[str]) -> None:
        self._stack = stack
        self.versions = versions
        self.promotions: list[str] = []
        self.splits: list[int] = []
        self._tried: list[int] = []
        """Shares since the last one that was acknowledged: each may have been taken up."""
        self._end = threading.Event()
        url = f"http://127.0.0.1:{stack.gateway_port}/predict"
        self.traffic = Traffic(url, RATE, row=numbered_row, check=is_numbered, name="work")
        steps = (self._register, self._promote, self._split)
        self._threads = [threading.Thread(target=self._repeat, args=(step,)) for step in steps]

    def __enter__(self) -> Self:
        self.traffic.__enter__()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()
        self.traffic.__exit__(None, None, None)

    def counts(self) -> tuple[int, int, int]:
        """Writes that were acknowledged, predictions that were answered, and that failed."""
        writes = len(self.versions) + len(self.promotions) + len(self.splits)
        return writes, len(self.traffic.answered), len(self.traffic.failures)

    def lost(self) -> list[str]:
        """What was acknowledged and is not there, now that everything runs."""
        with RegistryClient(self._stack.mlflow_url, timeout_s=60) as registry:
            in_registry = [*self._lost_versions(registry), *self._lost_promotions(registry)]
        return [*in_registry, *self._lost_splits(), *self._lost_predictions()]

    def _repeat(self, step: Callable[[int], None]) -> None:
        turn = 0
        while not self._end.wait(PAUSE_S):
            with contextlib.suppress(*NOT_ACKNOWLEDGED):
                step(turn)
            turn += 1

    # -- each step is acknowledged when it returns -------------------------------------------------

    def _register(self, _turn: int) -> None:
        self.versions.append(register_numbered(self._stack))

    def _promote(self, turn: int) -> None:
        version, why = self.versions[turn % len(self.versions)], f"turn {turn}"
        with RegistryClient(self._stack.mlflow_url, timeout_s=5) as registry:
            move = promote(registry, NAME, "champion", version, who="work", why=why, force=True)
        if move is not None:
            self.promotions.append(why)

    def _split(self, turn: int) -> None:
        share = 1 + turn % 50
        self._tried.append(share)
        report = traffic(self._stack, "--canary", str(share))
        if report["applied"]:
            self.splits.append(share)
            self._tried = [share]

    # -- and has to be there -----------------------------------------------------------------------

    def _lost_versions(self, registry: RegistryClient) -> list[str]:
        lost = []
        with tempfile.TemporaryDirectory() as folder:
            for version in self.versions:
                try:
                    found = fetch(registry, registry.version(NAME, version), Path(folder) / version)
                except ModelyardError as error:
                    lost.append(f"version {version}: {error}")
                else:
                    if found is not Verification.VERIFIED:
                        lost.append(f"version {version} is {found}")
        return lost

    def _lost_promotions(self, registry: RegistryClient) -> list[str]:
        moves = moves_of(registry.registered_model(NAME), "champion")
        on_record = {move.why for move in moves}
        missing = [why for why in (*self.promotions, _NEVER) if why not in on_record]
        assert _NEVER in missing  # it would be noticed
        return [f"promotion: {why}" for why in missing if why != _NEVER]

    def _lost_splits(self) -> list[str]:
        report = traffic(self._stack)
        plan = report["plan"]
        is_there = report["applied"] and (plan["share_percent"] in self._tried or plan["aborted"])
        return [] if is_there or not self.splits else [f"split {self._tried}: {json.dumps(plan)}"]

    def _lost_predictions(self) -> list[str]:
        replica = replica_names(self._stack)[0]
        command = ("docker", "exec", "-i", replica, "python", "-c", _LOGGED)
        done = run(*command, input="\n".join([*self.traffic.answered, _NEVER]))
        assert done.returncode == 0, done.stderr
        missing = done.stdout.split()
        assert _NEVER in missing  # it would be noticed
        return [f"log line of {one}" for one in missing if one != _NEVER]
