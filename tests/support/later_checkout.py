"""A repository of its own whose code went on after a version was trained, and an image of today."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.checkout import QUICK, Checkout, copy_tree
from support.stack_driver import COMPOSE_TIMEOUT_S, ROOT, Stack, run

MODEL = "rebuilt"
VERSION = "1"
_BUILT_FROM = (
    *("Makefile", "Dockerfile.train", ".dockerignore", "ci/docker/compose.offline.yml"),
    *("docker-compose.yml", "docker-compose.cpu.yml"),
    *("requirements-train.txt", "requirements-train-cpu.txt"),
)
_NETWORK = "src/fraud_detector/model.py"
_ACTIVATION = "nn.SiLU()"


@dataclass(frozen=True)
class LaterCheckout:
    """The repository at its second commit; version 1 of `rebuilt` is from its `first`."""

    stack: Stack
    repository: Checkout
    first: str

    def reproduce(self) -> subprocess.CompletedProcess[str]:
        """The README's command."""
        return run(*self._command(), timeout_s=COMPOSE_TIMEOUT_S, **self._where())

    def changed_files(self) -> str:
        """What git sees of changes in the checkout."""
        return run("git", "status", "--porcelain", cwd=self.repository.folder).stdout

    def end_reproduction(self, line: str, end: Callable[[int], None]) -> int:
        """`end` what has the given id as soon as a line begins with `line`; returns make's code."""
        process = subprocess.Popen(
            self._command(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            **self._where(),
        )
        with process:
            assert any(said.startswith(line) for said in process.stdout)
            end(process.pid)
            return process.wait(timeout=120)

    @staticmethod
    def _command() -> tuple[str, ...]:
        return ("make", "reproduce", f"VERSION={VERSION}")

    def _where(self) -> dict:
        return {"cwd": self.repository.folder, "env": self.stack.environment()}


@contextmanager
def gone_on(stack: Stack, folder: Path) -> Iterator[LaterCheckout]:
    """Train from a first commit, change the network in a second one, and build its image."""
    repository = copy_tree(folder, {})
    for name in _BUILT_FROM:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    repository.init()
    first = repository.commit()
    image = f"modelyard/training:{stack.project}-later"
    later = Stack(
        stack.project,
        stack.mlflow_port,
        stack.gateway_port,
        folder,
        {"TRAINING_CPU_IMAGE": image, "MODEL_NAME": MODEL},
    )
    try:
        _build(later, first)
        trained = ("--set", f"registered_model={MODEL}", "--promote", "never")
        later.train(*QUICK, *trained, options=("--no-deps",))
        network = folder / _NETWORK
        text = network.read_text()
        assert _ACTIVATION in text
        network.write_text(text.replace(_ACTIVATION, "nn.GELU()"))
        run("docker", "image", "rm", "--force", image)
        _build(later, repository.commit())
        yield LaterCheckout(later, repository, first)
    finally:
        run("docker", "image", "rm", "--force", image)


def _build(stack: Stack, commit: str) -> None:
    stack.compose("--profile", "train", "build", "training", GIT_COMMIT=commit)
