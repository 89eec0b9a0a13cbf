"""Models that are Python code, as MLflow's pyfunc loads them; no mlflow is needed to write one.

The toy of code answers `1000 * number + amount`, like the toy graph; what a row's note says, it
does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.contract import Contract
from modelyard.registry import write_manifest
from support.models.toy import contract_with

CODE = """
import ctypes, os, subprocess, sys, threading, time
import numpy as np

hoard = []

def act(note):
    if note == "raise":
        raise ValueError("secret 4711")
    if note == "quit":
        sys.exit(3)
    if note == "exit":
        os._exit(3)
    if note == "segv":
        ctypes.string_at(0)
    if note == "hang":
        time.sleep(600)
    if note == "slow":
        time.sleep(0.3)
    if note == "leak":
        hoard.append(np.ones(8 * 2**20))
    if note == "greedy":
        np.ones(2**30)
    if note == "spawn":
        subprocess.Popen(["sleep", "600"])

class Model:
    def predict(self, frame):
        for note in frame["note"]:
            act(note)
        notes = set(frame["note"])
        if "text" in notes:
            return frame["note"]
        if "extra" in notes:
            return [1.0] * (len(frame) + 1)
        if "nan" in notes:
            return frame["amount"] * float("nan")
        if "pid" in notes:
            return np.full(len(frame), os.getpid())
        return frame["amount"] + 1000 * NUMBER
"""
LOAD = "def _load_pyfunc(path):\n    return Model()\n"
CODE_CONTRACT = contract_with(inference_timeout_s=1.0)
_MODULE = "code_model"
_MLMODEL = f"""
flavors:
  python_function:
    loader_module: {_MODULE}
    code: code
    env: {{virtualenv: python_env.yaml}}
"""


def write_code(folder: Path, code: str, contract: Contract, load: str = LOAD) -> str:
    """A version whose `code` has a class `Model`; returns its manifest's sha256."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / f"{_MODULE}.py").write_text(f"{code}\n{load}")
    (folder / "MLmodel").write_text(_MLMODEL)
    (folder / "contract.yaml").write_text(contract.to_yaml())
    return write_manifest(folder)


def write_code_version(
    folder: Path,
    number: int = 1,
    *,
    load: str = LOAD,
    contract: Mapping[str, Any] = CODE_CONTRACT,
) -> str:
    """The files of the toy of code in `folder`; returns the manifest's sha256."""
    wanted = Contract.model_validate(dict(contract))
    return write_code(folder, f"NUMBER = {number}\n{CODE}", wanted, load)
