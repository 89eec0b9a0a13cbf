"""Model versions that are code, as MLflow's pyfunc loads them: well-behaved until they are told.

The model answers `1000 * number + amount`, like the toy graph; what a row's note says, it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelyard.contract import Contract
from modelyard.registry import ModelVersion, write_manifest
from modelyard.registry.manifest import DIGEST_TAG
from support.model_folders import FolderRegistry, contract_with

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


def write_code_version(
    folder: Path,
    number: int = 1,
    *,
    load: str = LOAD,
    contract: Mapping[str, Any] = CODE_CONTRACT,
) -> str:
    """A version's files in `folder`; returns the manifest's sha256."""
    (folder / "code").mkdir(parents=True)
    text = f"NUMBER = {number}\n{CODE}\n{load}"
    (folder / "code" / f"toy_model_{number}.py").write_text(text)
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function:\n"
        f"    loader_module: toy_model_{number}\n    code: code\n"
        "    env: {virtualenv: python_env.yaml}\n"
    )
    (folder / "contract.yaml").write_text(Contract.model_validate(dict(contract)).to_yaml())
    return write_manifest(folder)


def add_code_version(registry: FolderRegistry, number: int, **options: Any) -> ModelVersion:
    """Register such a version and let the alias point to it."""
    files = registry.folder / f"code-{number}"
    digest = write_code_version(files, number, **options)
    version = registry.add(number)
    version = replace(version, source=str(files), tags={**version.tags, DIGEST_TAG: digest})
    registry.versions[str(number)] = version
    return version
