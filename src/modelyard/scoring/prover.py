"""What `proof.py` starts: it opens an ONNX version, tries it, and says what came of it.

`python -m modelyard.scoring.child.confined … modelyard.scoring.prover FOLDER MEMORY_BYTES LIFELINE
idle|low`
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from pathlib import Path

from modelyard.errors import ModelNotLoadedError, ModelyardError
from modelyard.scoring.child.guard import (
    die_with_server,
    limit_memory,
    peak_bytes,
    yield_to_server,
)

_MEMORY_WORDS = ("alloc", "memory")  # of onnxruntime and of C++
_FIX = "If the model is sound and needs more memory, raise SERVING_CHILD_MEMORY_MB."


def _try(folder: Path, memory_bytes: int) -> dict[str, str | bool]:
    """What is wrong with the version in `folder`; empty when nothing is."""
    from modelyard.scoring.bundle import open_bundle

    try:
        open_bundle(folder, children=None).try_out()
    except MemoryError:
        return _out_of_memory("The graph takes more memory than it may.")
    except ModelNotLoadedError as error:
        return {"refused": error.detail, "fix": error.fix, "is_verdict": False}
    except ModelyardError as error:
        if any(word in error.detail.lower() for word in _MEMORY_WORDS):
            return _out_of_memory(error.detail)
        return {"refused": error.detail, "fix": error.fix, "is_verdict": True}
    held = peak_bytes()
    if 0 < memory_bytes < held:
        detail = f"The graph made its process hold {held >> 20} MiB for its example; "
        return _out_of_memory(f"{detail}{memory_bytes >> 20} MiB are allowed.")
    return {}


def _out_of_memory(detail: str) -> dict[str, str | bool]:
    return {"refused": detail, "fix": _FIX, "is_verdict": False}


def main(arguments: list[str]) -> int:
    """Guard, try, say."""
    folder, memory_bytes, lifeline, priority = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    die_with_server(int(lifeline))
    yield_to_server(only_idle=priority == "idle")
    limit_memory(int(memory_bytes))
    outcome = _try(Path(folder), int(memory_bytes))
    sys.stdout.write(json.dumps(outcome) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a call that was given up may still run


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
