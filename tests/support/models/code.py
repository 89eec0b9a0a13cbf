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
import ctypes, os, signal, subprocess, sys, tempfile, threading, time
import numpy as np

hoard = []

def fork(number, work):
    for _ in range(number):
        if os.fork() == 0:
            work()
            os._exit(0)

def bomb():
    fork(50, lambda: time.sleep(600))
    time.sleep(600)

def start_threads():
    threading.stack_size(2**16)
    for _ in range(5000):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    time.sleep(600)

def leak_in_forks():
    fork(8, lambda: (hoard.append(np.ones(20 * 2**20)), time.sleep(600)))
    time.sleep(600)

def fill_disk():
    for number in range(16):
        with open(os.path.join(tempfile.gettempdir(), str(number)), "wb") as file:
            for _ in range(128):
                file.write(bytes(2**20))
    time.sleep(600)

def one_large_file():
    with open(os.path.join(tempfile.gettempdir(), "large"), "wb") as file:
        file.truncate(2**31)

def many_small_files():
    for number in range(50_000):
        open(os.path.join(tempfile.gettempdir(), str(number)), "w").close()
    time.sleep(600)

def outlive(escape):
    if os.fork() == 0:
        try:
            escape()
            os.closerange(0, 1024)
            time.sleep(600)
        finally:
            os._exit(4)
    time.sleep(0.5)
    os._exit(3)

def leave_by_fork():
    if os.fork():
        os._exit(0)

FAULTS = {
    "bomb": bomb,
    "threads": start_threads,
    "leak in forks": leak_in_forks,
    "print": lambda: sys.stdout.write("x" * 50_000_000) and sys.stdout.flush(),
    "print lines": lambda: sys.stdout.write("\\n" * 5_000_000) and sys.stdout.flush(),
    "open files": lambda: hoard.extend(open("/dev/null") for _ in range(10_000)),
    "fill disk": fill_disk,
    "large file": one_large_file,
    "small files": many_small_files,
    "change folder": lambda: os.chdir("/"),
    "close files": lambda: os.closerange(0, 1024),
    "stop itself": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "kill parent": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "stop parent": lambda: os.kill(os.getppid(), signal.SIGSTOP),
    "outlive": lambda: outlive(lambda: None),
    "outlive by a fork": lambda: outlive(leave_by_fork),
    "outlive in a session": lambda: outlive(os.setsid),
}

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
    if note in FAULTS:
        FAULTS[note]()

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
