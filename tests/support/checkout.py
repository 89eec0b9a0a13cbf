"""A checkout of its own, with a commit of everything that this tree holds now."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support.servers import ROOT

QUICK = (
    *("--config", "configs/train-smoke.yaml"),
    *("--set", "sample_rows=4000", "--set", "fit.epochs=1"),
    *("--set", "evaluation.bootstrap_resamples=0", "--set", "gate.margin=1"),
)


@dataclass(frozen=True)
class Checkout:
    """Runs modelyard from the code in `folder`, and nowhere else."""

    folder: Path
    environment: Mapping[str, str]

    def train(self, model: str, *more: str) -> subprocess.CompletedProcess[str]:
        """A quick training by the container's entrypoint."""
        words = ["sh", "entrypoint.sh", *QUICK, "--set", f"registered_model={model}", *more]
        return self._run(words, {"WORKSPACE": str(self.folder.parent / "workspace")})

    def push_data(self) -> subprocess.CompletedProcess[str]:
        """Put the demo data into the store."""
        workspace = str(self.folder.parent / "workspace")
        return self._run(
            ["sh", "entrypoint.sh"], {"ENTRYPOINT_JOB": "dataset", "WORKSPACE": workspace}
        )

    def modelyard(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """One command of modelyard."""
        return self._run(["modelyard", *words], settings)

    def commit(self) -> str:
        """Commit everything; returns the commit."""
        self._git("add", "-A")
        self._git("commit", "-qm", "as it is")
        return self._git("rev-parse", "HEAD")

    def init(self) -> None:
        """Make the folder a repository."""
        self._git("init", "-q")

    def _git(self, *words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
        done = self._run(["git", *who, *words], {})
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _run(
        self, words: list[str], settings: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.folder,
            env={**os.environ, **self.environment, **settings},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )


def copy_tree(folder: Path, environment: Mapping[str, str]) -> Checkout:
    """What an image would hold of this tree, in `folder`."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.parquet")
    for name in ("src", "configs", "data"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    (folder / ".dvc").mkdir()
    shutil.copy2(ROOT / ".dvc/config", folder / ".dvc/config")
    shutil.copy2(ROOT / "entrypoint.sh", folder / "entrypoint.sh")
    (folder / ".gitignore").write_text("__pycache__/\n*.parquet\n")
    own = {
        "PYTHONPATH": str(folder / "src"),
        "DVC_CACHE_DIR": str(folder.parent / "dvc-cache"),
        "DVC_REMOTE_URL": str(folder.parent / "dvc-store"),
        "TRAINING_STATE_DIR": str(folder.parent / "state"),
        "GIT_COMMIT": "",
        "MODELYARD_USER": "tester",
        **environment,
    }
    return Checkout(folder, own)
