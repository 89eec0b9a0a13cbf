"""An ONNX graph in the child: the runner of the server's own process, in a process of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from modelyard.contract import Contract
from modelyard.scoring.child.wire import BindGraph, GraphLoaded, GraphTensor
from modelyard.scoring.column import Array
from modelyard.scoring.onnx.graph import Tensor
from modelyard.scoring.onnx.runner import OnnxModel, OnnxRunner


class GraphModel:
    """One opened graph; imports nothing of MLflow's."""

    def __init__(self, path: Path) -> None:
        """Open the graph at `path`; raises ModelRefusedError when onnxruntime refuses it."""
        self._model = OnnxModel(path)
        self._runner: OnnxRunner | None = None
        self._names: tuple[str, ...] = ()

    def loaded(self) -> GraphLoaded:
        """What there is."""
        inputs, outputs = map(_tensors, (self._model.inputs, self._model.outputs))
        return GraphLoaded(self._model.description, inputs, outputs)

    def bind(self, bind: BindGraph) -> None:
        """Expect the columns of the contract; raises ModelRefusedError when it does not fit."""
        contract = Contract.from_yaml(bind.contract)
        self._names = contract.names
        self._runner = self._model.bind(contract)

    def predict(self, columns: Sequence[Array], _rows: int) -> Array:
        """One prediction a row; raises RunnerError when the graph fails."""
        assert self._runner is not None  # bound before the first question
        return self._runner.predict(dict(zip(self._names, columns, strict=True)))


def _tensors(tensors: Sequence[Tensor]) -> list[GraphTensor]:
    return [GraphTensor(t.name, t.type, list(t.shape)) for t in tensors]
