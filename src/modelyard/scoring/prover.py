"""What `proof.py` starts: it reads a version, tries it when it is a graph, says what came of it.

`python -m modelyard.scoring.child.confined … modelyard.scoring.prover FOLDER MEMORY_BYTES LIFELINE
idle|low children|none`
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.errors import ModelNotLoadedError, ModelyardError
from modelyard.scoring.child.guard import (
    die_with_server,
    limit_memory,
    peak_bytes,
    yield_to_server,
)

if TYPE_CHECKING:
    from modelyard.scoring.files import VersionFiles

_MEMORY_WORDS = ("alloc", "memory")  # of onnxruntime and of C++
_FIX = "If the model is sound and needs more memory, raise SERVING_CHILD_MEMORY_MB."


def _try(folder: Path, memory_bytes: int, children: str) -> dict[str, str | bool]:
    """What is wrong with the version in `folder`; empty when nothing is."""
    try:
        _use(folder, has_children=children == "children")
    except MemoryError:
        return _out_of_memory("It takes more memory than it may.")
    except ModelyardError as error:
        is_verdict = not isinstance(error, ModelNotLoadedError)
        if is_verdict and any(word in error.detail.lower() for word in _MEMORY_WORDS):
            return _out_of_memory(error.detail)
        return {"refused": error.detail, "fix": error.fix, "is_verdict": is_verdict}
    held = peak_bytes()
    if 0 < memory_bytes < held:
        detail = f"It made its process hold {held >> 20} MiB; "
        return _out_of_memory(f"{detail}{memory_bytes >> 20} MiB are allowed.")
    return {}


def _use(folder: Path, *, has_children: bool) -> None:
    """Read the version; open it and let it answer a row too when that is not a child's to do."""
    from modelyard.scoring.bundle import needs_child, open_bundle
    from modelyard.scoring.files import VersionFiles

    files = VersionFiles(folder)
    if not files.is_onnx or (has_children and needs_child(files)):
        _read(files)
        return
    open_bundle(folder, children=None).try_out()


def _read(files: VersionFiles) -> None:
    """What the server reads itself of a version that runs elsewhere; raises as that does."""
    from modelyard.contract import Output
    from modelyard.scoring.signature import derive_contract

    if files.contract() is None:
        derive_contract(files.folder, files.mlmodel, Output())


def _out_of_memory(detail: str) -> dict[str, str | bool]:
    return {"refused": detail, "fix": _FIX, "is_verdict": False}


def main(arguments: list[str]) -> int:
    """Guard, try, say."""
    folder, memory_bytes, lifeline, priority, children = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    die_with_server(int(lifeline))
    yield_to_server(only_idle=priority == "idle")
    limit_memory(int(memory_bytes))
    outcome = _try(Path(folder), int(memory_bytes), children)
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a call that was given up may still run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
