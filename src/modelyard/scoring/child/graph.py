"""An ONNX graph in a child: for graphs that may take any time or memory for a row.

The graph is data and runs no code of the version. What it takes is bounded as for every model in
children: a call ends in time, with its process, and the server goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelyard.contract import Contract
from modelyard.scoring.child.wire import Bind
from modelyard.scoring.column import Array
from modelyard.scoring.onnx.runner import OnnxModel


class ChildGraph:
    """One loaded graph, asked as `ChildModel` is."""

    classes: Sequence[str] = ()
    only_labels = False

    def __init__(self, graph: Path, contract: Contract) -> None:
        """Open `graph`; raises ModelRefusedError when it cannot be opened, or does not fit."""
        self._runner = OnnxModel(graph).bind(contract)
        self._names: Sequence[str] = ()
        self.description = self._runner.description

    def bind(self, bind: Bind) -> None:
        """Expect the columns that `bind` names."""
        self._names = bind.names

    def predict(self, columns: Sequence[Array], rows: int) -> Array:  # noqa: ARG002
        """Predictions for `rows` rows: [rows], or [rows, k]; raises RunnerError."""
        return self._runner.predict(dict(zip(self._names, columns, strict=True)))
