"""Runs an ONNX graph in this process: no code in the artifact, microseconds a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from modelyard.contract import Contract, Output
from modelyard.errors import ModelRefusedError
from modelyard.scoring.answers import as_predictions
from modelyard.scoring.column import Column
from modelyard.scoring.onnx.categories import take_encoders
from modelyard.scoring.onnx.graph import (
    STRINGS,
    InputPlan,
    Tensor,
    choose_output,
    derive_output,
    plan_inputs,
)
from modelyard.scoring.runner import Call, Predictions, RunnerError

_ERRORS_ONLY = 3
_SLICE_ROWS = 8192
"""Rows of one run of the graph: what lies between two nodes stays in the processor's cache, and the
session, which keeps the memory of its largest run, stays small."""


class OnnxModel:
    """An opened ONNX file: what it takes and gives is known, it is not bound to a contract yet."""

    def __init__(self, path: Path) -> None:
        """Open the file at `path`; raises ModelRefusedError when onnxruntime refuses it."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # what `cost.py` has looked through, whatever else the file could be read as
        options.add_session_config_entry("session.load_model_format", "ONNX")
        taken = take_encoders(path)
        graph, self.encoders = (str(path), {}) if taken is None else taken
        try:
            self.session = ort.InferenceSession(
                graph, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has a class for each status code
            raise ModelRefusedError(
                f"onnxruntime {ort.__version__} cannot load {path.name}: {_first_line(error)}"
            ) from error
        of_encoders = {encoder.name: name for name, encoder in self.encoders.items()}
        self.inputs = [
            replace(tensor, name=of_encoders[tensor.name], type=STRINGS)
            if tensor.name in of_encoders
            else tensor
            for tensor in map(_tensor, self.session.get_inputs())
        ]
        self.outputs = [_tensor(t) for t in self.session.get_outputs()]

    @property
    def description(self) -> str:
        """What runs the graph."""
        return f"onnxruntime {ort.__version__}"

    @property
    def samples(self) -> Mapping[str, Sequence[str]]:
        """Strings that it knows, by feature: a graph answers unknown ones, too."""
        return {}

    def derived_output(self) -> Output:
        """What this graph answers, for a version without a contract of its own."""
        return derive_output(self.outputs)

    def bind(self, contract: Contract) -> OnnxRunner:
        """A runner for `contract`; raises ModelRefusedError when they do not fit."""
        return OnnxRunner(self, contract)

    def close(self) -> None:
        """Drop the graph that was opened and is not bound."""
        del self.session


class OnnxRunner:
    """A `Runner` of one ONNX graph."""

    def __init__(self, model: OnnxModel, contract: Contract) -> None:
        """Bind `model` to `contract`; raises ModelRefusedError when they do not fit."""
        self._session = model.session
        self._inputs = plan_inputs(model.inputs, contract)
        self._encoders = model.encoders
        self._outputs = [choose_output(model.outputs, contract.output)]
        self._output = contract.output
        self._options = ort.RunOptions()

    @property
    def description(self) -> str:
        """What runs the model."""
        return f"onnxruntime {ort.__version__}"

    def predict(self, columns: Mapping[str, Column], call: Call | None = None) -> Predictions:
        """One prediction a row; raises RunnerError when the graph fails.

        A `call` that is given up ends at the next node, and no other run with it.
        """
        options = self._options if call is None else _options_of(call)
        feed = dict(self._feed(plan, columns) for plan in self._inputs)
        rows = len(next(iter(columns.values())))
        if rows <= _SLICE_ROWS:
            return self._run(feed, rows, options)
        slices = (slice(at, min(at + _SLICE_ROWS, rows)) for at in range(0, rows, _SLICE_ROWS))
        parts: list[Predictions] = []
        for s in slices:
            if call is not None:
                call.check()
            part = {name: values[s] for name, values in feed.items()}
            parts.append(self._run(part, s.stop - s.start, options))
        return np.concatenate(parts)

    def _run(
        self, feed: Mapping[str, npt.NDArray[np.generic]], rows: int, options: ort.RunOptions
    ) -> Predictions:
        try:
            answer = self._session.run(self._outputs, feed, options)[0]
        except Exception as error:
            raise RunnerError(_first_line(error)) from error
        return as_predictions(answer, rows, self._output)

    def _feed(
        self, plan: InputPlan, columns: Mapping[str, Column]
    ) -> tuple[str, npt.NDArray[np.generic]]:
        """An input's name and its tensor."""
        if len(plan.features) > 1:
            parts = [_cast(np.asarray(columns[name]), plan.dtype) for name in plan.features]
            return plan.name, np.stack(parts, axis=1)
        name, column = plan.name, columns[plan.features[0]]
        if (encoder := self._encoders.get(name)) is not None:
            name, column = encoder.name, encoder.encode(column)
        else:
            column = _cast(np.asarray(column), plan.dtype)
        return name, column.reshape(-1, 1) if plan.is_matrix else column

    def interrupt(self) -> None:
        """End the runs that are under way without a `Call`, each at its next node."""
        under_way, self._options = self._options, ort.RunOptions()
        under_way.terminate = True

    def close(self) -> None:
        """Drop the session; a run that was given up ends at its next node."""
        self._options.terminate = True
        del self._session


def _options_of(call: Call) -> ort.RunOptions:
    options = ort.RunOptions()
    call.on_give_up(lambda: setattr(options, "terminate", True))
    return options


def _cast(column: npt.NDArray[np.generic], dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    if column.dtype == dtype:
        return column
    with np.errstate(over="ignore"):  # what a float32 cannot hold becomes infinite
        return column.astype(dtype)


def _tensor(argument: Any) -> Tensor:
    shape = tuple(d if isinstance(d, int) else None for d in argument.shape)
    return Tensor(argument.name, argument.type, shape)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
