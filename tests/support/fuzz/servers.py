"""The servers that are fuzzed: one for each way that a request can take through a server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from modelyard.contract import Contract
from support.fuzz.reference import Sizes
from support.models.code import write_code
from support.models.folders import write_version
from support.models.toy import CONTRACT
from support.serving_app import Server, build_server, snapshot_of

_SMALL = {
    "prediction_log": "full",
    "max_body_bytes": 1024,
    "max_rows": 6,
    "max_batch_body_bytes": 4096,
    "max_batch_rows": 20,
    "max_depth": 8,
}
_CODE = """
import numpy as np

class Model:
    def predict(self, frame):
        return (1000 + frame["amount"].to_numpy()).astype(np.float32)
"""


@dataclass(frozen=True)
class Target:
    """A kind of server.

    Attributes:
        share: of the cases, in percent.
        sizes: its limits.
        build: makes one with its files in a folder.
        follows: whether it finds its version in a registry, as it has to for child processes.
    """

    share: int
    sizes: Sizes
    build: Callable[[Path], Server]
    follows: bool = False


def _serving(folder: Path, *, inline: bool = True, **settings: Any) -> Server:
    server = build_server(folder, **settings)
    write_version(folder / "served")
    server.holder.replace(replace(snapshot_of(folder / "served"), runs_inline=inline))
    return server


def _in_children(folder: Path) -> Server:
    server = build_server(folder, prediction_log="full")

    def write(files: Path, _number: int) -> str:
        return write_code(files, _CODE, Contract.model_validate(CONTRACT))

    server.registry.add(1, write=write)
    return server


TARGETS = {
    "inline": Target(45, Sizes(), _serving),
    "small": Target(30, Sizes(1024, 6, 4096, 20, 8), partial(_serving, **_SMALL)),
    "threads": Target(15, Sizes(), partial(_serving, inline=False)),
    "children": Target(10, Sizes(), _in_children, follows=True),
}
"""inline: an ONNX graph on the event loop; small: with small limits and the whole prediction log;
threads: as models run that may take long; children: Python code in a process of its own."""
