"""One virtual environment a contestant, from pinned files, so that no peer has another's packages.

Ours is the lock of the serving image.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.serving.places import PEERS, ROOT, STATE

OURS = "modelyard"
PEER_NAMES = ("mlflow", "mlserver", "bentoml", "litserve", "mosec")


def python_of(name: str) -> Path:
    """The interpreter of a contestant's environment."""
    return STATE / "venvs" / name / "bin" / "python"


def prepare(name: str) -> None:
    """Make the environment of `name`, unless it is there and as its file says."""
    requirements = ROOT / "requirements-serve.txt" if name == OURS else PEERS / f"{name}.txt"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    folder = STATE / "venvs" / name
    stamp = folder / "requirements.sha256"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    shutil.rmtree(folder, ignore_errors=True)
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True)  # noqa: S603
    install: list[str | Path] = [uv, "pip", "install", "-q", "--compile-bytecode"]
    install += ["--python", python_of(name), "-r", requirements]
    subprocess.run(install, check=True)  # noqa: S603
    stamp.write_text(wanted)
