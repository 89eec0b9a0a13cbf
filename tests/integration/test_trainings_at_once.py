"""Trainings and promotions that meet, and trainings that are killed anywhere.

Whatever happens, each version is whole and is one run's, every move of the alias is on record, and
the alias is at a version that is there.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fraud_detector import dataset
from modelyard.errors import ExitCode
from modelyard.provenance import md5_of
from modelyard.registry import RegistryClient
from modelyard.registry.fetch import Verification, fetch
from modelyard.registry.moves import moves_of
from support.registry_commands import environment
from support.servers import ROOT
from support.soak import FaultRow, size

pytestmark = pytest.mark.timeout(1800)
SMALL = ("--set", "fit.epochs=2", "--set", "evaluation.bootstrap_resamples=10")
LONGEST_S = 300


@dataclass
class Commands:
    """`modelyard` commands for one registered model, started and not waited for."""

    folder: Path
    mlflow_url: str
    model: str
    training_s: float = 0.0
    """How long a training took that nothing disturbed."""

    def start(self, *words: str) -> subprocess.Popen[str]:
        own = {
            "MODELYARD_DATA_DIR": str(self.folder / "data"),
            "TRAINING_STATE_DIR": str(self.folder / "state"),
            "PYTHONUNBUFFERED": "1",
        }
        return subprocess.Popen(
            ["modelyard", *words],
            cwd=ROOT,
            env={**environment(self.mlflow_url, self.model), **own},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def train(self, *words: str) -> subprocess.Popen[str]:
        named = ("--set", f"registered_model={self.model}", "--set", "experiment=at-once")
        return self.start("train", "--config", "configs/train-smoke.yaml", *SMALL, *named, *words)


def end_of(command: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said."""
    said, _ = command.communicate(timeout=LONGEST_S)
    assert "Traceback" not in said, said
    return command.returncode, said


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("at-once")
    (folder / "data").mkdir()
    path = folder / "data/transactions.parquet"
    dataset.generate(path, rows=6_000)
    pointer = f"outs:\n- md5: {md5_of(path)}\n  size: {path.stat().st_size}\n  hash: md5\n"
    path.with_suffix(".parquet.dvc").write_text(f"{pointer}  path: transactions.parquet\n")
    return folder


@pytest.fixture
def registry(mlflow_url: str) -> Iterator[RegistryClient]:
    """More patient than a command: trainings take all of the machine."""
    with RegistryClient(mlflow_url, timeout_s=60) as client:
        yield client


@pytest.fixture(scope="module")
def job(data: Path, mlflow_url: str) -> Commands:
    """Commands for a model whose version 1 is trained."""
    made = Commands(data, mlflow_url, "at-once")
    begin = time.monotonic()
    code, said = end_of(made.train())
    assert code == 0, said
    made.training_s = time.monotonic() - begin
    return made


def faults_in(registry: RegistryClient, model: str, folder: Path) -> list[str]:
    """What is wrong with the versions of `model`, their runs, its alias and its history."""
    versions = list(registry.versions(model))
    faults = []
    for version in versions:
        target = folder / f"{model}-{version.version}"
        if fetch(registry, version, target) is not Verification.VERIFIED:
            faults.append(f"version {version.version} is not whole")
    runs = Counter(version.run_id for version in versions)
    faults += [f"{n} versions of run {run}" for run, n in runs.items() if n > 1]
    alias = registry.aliases(model).get("champion")
    moves = moves_of(registry.registered_model(model), "champion")
    if alias is not None and alias not in {version.version for version in versions}:
        faults.append(f"the alias is at version {alias}, which is not there")
    if alias is not None and alias not in {move.moved_to for move in moves}:
        faults.append(f"the alias is at version {alias}, where no move on record leads")
    return faults


def test_two_trainings_and_two_promotions_at_once(
    job: Commands,
    registry: RegistryClient,
    tmp_path: Path,
    tell: Callable[[FaultRow], None],
) -> None:
    model = job.model
    known, recoveries, lost = len(list(registry.versions(model))), [], []
    for turn in range(size(1, 10)):
        begin = time.monotonic()
        running = [job.train(), job.train()]
        running += [
            job.start("promote", str(1 + turn % known), "--force", "--why", f"turn {who}")
            for who in range(2)
        ]
        ends = [end_of(command) for command in running]
        recoveries.append(time.monotonic() - begin)
        codes = [code for code, _ in ends]
        # an alias that another one moved at the same time is said; nothing else may fail
        assert set(codes) <= {0, ExitCode.ALIAS_MOVED}, ends
        assert codes[:2] == [0, 0], ends
        known += 2
        found = [version.version for version in registry.versions(model)]
        assert sorted(map(int, found)) == list(range(1, known + 1))
        lost += faults_in(registry, model, tmp_path / str(turn))
    turns = len(recoveries)
    tell(
        FaultRow(
            "two trainings and two promotions at once", turns, len(lost), f"{known} versions",
            recoveries, "distinct whole versions, every move on record",
        )
    )  # fmt: skip
    assert not lost


def test_a_training_that_is_killed_leaves_nothing_half_done_and_goes_on(
    job: Commands,
    registry: RegistryClient,
    tmp_path: Path,
    tell: Callable[[FaultRow], None],
) -> None:
    """At random, and every other time in its registration; then `--resume`."""
    numbers = random.Random(int(os.environ.get("FUZZ_SEED") or 1))
    recoveries, lost, survivors = [], [], 0
    for turn in range(size(1, 20)):
        before = {version.version for version in registry.versions(job.model)}
        command = job.train()
        if turn % 2 == 0:
            _read_until(command, "gate ")  # said right before the version is registered
            time.sleep(numbers.uniform(0, 0.6))
        else:
            time.sleep(numbers.uniform(0, job.training_s))
        command.send_signal(signal.SIGKILL)
        command.communicate()
        survivors += command.returncode == 0
        lost += faults_in(registry, job.model, tmp_path / f"killed-{turn}")
        begin = time.monotonic()
        code, said = end_of(job.train("--resume"))
        recoveries.append(time.monotonic() - begin)
        assert code == 0, said
        after = {version.version for version in registry.versions(job.model)}
        assert 1 <= len(after - before) <= 2, (before, after)
        lost += faults_in(registry, job.model, tmp_path / f"resumed-{turn}")
    tell(
        FaultRow(
            "kill -9 of a training, also in its registration", len(recoveries), len(lost),
            f"{len(after)} versions", recoveries,
            f"resumed each time ({survivors} had ended before)",
        )
    )  # fmt: skip
    assert not lost


def _read_until(command: subprocess.Popen[str], line_start: str) -> None:
    assert command.stdout is not None
    for line in command.stdout:
        if line.startswith(line_start):
            return
