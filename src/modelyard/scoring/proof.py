"""A version is read, and an ONNX graph tried, in a process of its own before the server does it.

Whatever the server will read itself is read there first: MLmodel, the contract, the example, the
graph. onnxruntime bounds neither the memory nor the time that a graph takes: one node may ask for a
terabyte, a loop may never end, both already while the graph is opened. In the server that would end
what is served; in a process that may hold so much and live so long, it costs the new version.

What a graph takes for other inputs than its example is not bounded by this.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from modelyard.errors import ModelNotLoadedError, ModelRefusedError
from modelyard.scoring.child import confined
from modelyard.scoring.child.confinement import Confinement
from modelyard.scoring.child.environment import child_environment
from modelyard.scoring.child.process import ending
from modelyard.settings import ServingSettings

log = logging.getLogger(__name__)

_LOGGED_CHARACTERS = 1000
_PATIENCE_S = 10.0
_FIX = "If the model is sound and needs more memory, raise SERVING_CHILD_MEMORY_MB."


@dataclass(frozen=True)
class ProofLimits:
    """What a graph may take to be opened and to answer its example.

    Args:
        memory_bytes: what the process may hold; 0 for no limit.
        seconds: how long it may live.
    """

    memory_bytes: int = 1536 * 2**20
    seconds: float = 60.0

    @classmethod
    def of(cls, settings: ServingSettings) -> ProofLimits:
        """Those of a model that runs in a child."""
        memory_bytes = settings.child_memory_mb * 2**20
        return cls(memory_bytes, settings.child_start_timeout_s)


def prove(folder: Path, limits: ProofLimits, *, has_children: bool = False) -> None:
    """Read the version in `folder` elsewhere, and try it when it is ONNX; half a second of a core.

    On a machine that is busy throughout, what runs only on idle cores may not get far enough:
    then it is tried once more with a small share of a core for sure.

    Args:
        has_children: graphs whose cost a value decides are only read: children will run them,
            within limits of their own.

    Raises:
        ModelRefusedError: it cannot be served; ModelNotLoadedError when it passed the limits.
    """
    children = "children" if has_children else "none"
    idle = replace(limits, seconds=min(limits.seconds, _PATIENCE_S))
    try:
        _try(folder, idle, "idle", children)
    except ModelNotLoadedError:
        _try(folder, limits, "low", children)


def _try(folder: Path, limits: ProofLimits, priority: str, children: str) -> None:
    files = os.fspath(folder.resolve())
    lifeline, ours = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own module
            confined.command(
                Confinement(files).to_json(),
                *("modelyard.scoring.prover", files),
                *(str(limits.memory_bytes), str(lifeline), priority, children),
            ),
            env=child_environment(),
            cwd="/",
            pass_fds=(lifeline,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # not a session: the scheduler would give it a share of its own
        )
    finally:
        os.close(lifeline)
    try:
        said, complaints = process.communicate(timeout=limits.seconds)
    except subprocess.TimeoutExpired as error:
        raise ModelNotLoadedError(
            "The version was tried in a process of its own, and was not opened and asked within "
            f"{limits.seconds:g} s.",
            fix="If it needs longer, raise SERVING_CHILD_START_TIMEOUT_S.",
        ) from error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        os.close(ours)
    _judge(process.returncode, said, complaints)


def _judge(code: int, said: bytes, complaints: bytes) -> None:
    """Raise ModelRefusedError unless the process said that all went well."""
    try:
        outcome = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        outcome = None
    if code == 0 and outcome is not None:
        if "refused" in outcome:
            kind = ModelRefusedError if outcome["is_verdict"] else ModelNotLoadedError
            raise kind(outcome["refused"], fix=outcome["fix"])
        return
    if complaints:
        text = complaints.decode("utf-8", "replace")[-_LOGGED_CHARACTERS:]
        log.warning("The process that tried a version wrote: %s", " | ".join(text.splitlines()))
    raise ModelNotLoadedError(
        f"The version was tried in a process of its own, and {ending(code)}.", fix=_FIX
    )
