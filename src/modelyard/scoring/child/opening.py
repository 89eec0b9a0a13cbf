"""From a version's files to a runner of its model in children."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from modelyard.contract import Contract, Output, OutputKind
from modelyard.errors import ModelNotLoadedError, ModelRefusedError
from modelyard.scoring.child.columns import plan
from modelyard.scoring.child.confinement import gaps
from modelyard.scoring.child.outputs import check_outputs
from modelyard.scoring.child.pool import ChildPool
from modelyard.scoring.child.process import ChildLimits, ChildProcess
from modelyard.scoring.child.runner import ChildRunner, RunnerLimits
from modelyard.scoring.child.wire import Bind, BindGraph, GraphTensor
from modelyard.scoring.onnx.graph import Tensor, choose_output, derive_output, plan_inputs
from modelyard.settings import ServingSettings

log = logging.getLogger(__name__)

Isolation = Literal["auto", "required", "off"]

_TWO_CLASSES = 2
_IMAGES = {
    # flavor: the package that it needs, and the serving image that has it
    "python_function": ("mlflow", "pyfunc"),
    "sklearn": ("sklearn", "pyfunc"),
    "pytorch": ("torch", "torch"),
}


@dataclass(frozen=True)
class ChildOptions:
    """How models run that do not run in this process: code, and graphs whose cost is unbounded.

    Args:
        count: children of one model.
        memory_bytes: what each may hold; 0 for no limit.
        start_s: seconds until one has loaded its model.
        batch_rows: most rows of several requests that one is given at once.
        request_s: seconds that a request may take.
        isolation: how much is taken from each before it loads its model: all that this machine can
            take (auto), nothing less than all (required), or nothing (off).
        network: whether they may reach addresses all the same.
        allows_code: whether a model that is code is run at all.
    """

    count: int
    memory_bytes: int
    start_s: float
    batch_rows: int
    request_s: float
    isolation: Isolation = "auto"
    network: bool = False
    allows_code: bool = True

    @classmethod
    def of(cls, settings: ServingSettings) -> ChildOptions:
        """What the settings say."""
        return cls(
            count=settings.child_processes,
            memory_bytes=settings.child_memory_mb * 2**20,
            start_s=settings.child_start_timeout_s,
            batch_rows=settings.child_batch_rows,
            request_s=settings.request_timeout_s,
            isolation=settings.child_isolation,
            network=settings.child_network,
            allows_code=settings.model_formats != "onnx",
        )

    @classmethod
    def offline(cls) -> ChildOptions:
        """Where no server waits, as in the gate and `modelyard batch`.

        The threads and the time of a row are those of serving; a container's own limit bounds the
        memory, and a call may take as long as its rows.
        """
        return cls(count=1, memory_bytes=0, start_s=600.0, batch_rows=1024, request_s=7200.0)


class _Opened:
    """A model that one child has loaded; it is not bound to a contract yet."""

    def __init__(self, folder: Path, options: ChildOptions) -> None:
        self._folder = folder
        self._options = options
        self._child = self._start()

    def close(self) -> None:
        """End the child that was opened and is not bound."""
        self._child.end()

    def _start(self) -> ChildProcess:
        options = self._options
        limits = ChildLimits(
            options.memory_bytes, options.start_s, options.isolation != "off", options.network
        )
        return ChildProcess(limits, self._folder)

    @property
    def _call_s(self) -> float:
        """A request that waits behind a call that hangs still has half of its time left."""
        return self._options.request_s / 2

    def _runner(
        self,
        contract: Contract,
        description: str,
        load: Callable[[ChildProcess], object],
        binding: Bind | BindGraph,
        names: list[str],
    ) -> ChildRunner:
        """The runner of `contract`; each child after the first gets `load` and `binding`."""
        options = self._options
        self._child.bind(binding)

        def ready(child: ChildProcess) -> None:
            load(child)
            child.bind(binding)

        limits = RunnerLimits(
            memory_bytes=options.memory_bytes,
            batch_rows=options.batch_rows,
            row_s=contract.inference_timeout_s,
            call_s=self._call_s,
        )
        pool = ChildPool(self._child, self._start, ready, options.count)
        description = f"{description}, {_whereabouts(options)}"
        return ChildRunner(description, pool, names, contract.output, limits)


class OpenedModel(_Opened):
    """A model of code, loaded by MLflow."""

    def __init__(self, folder: Path, mlmodel: Mapping[str, Any], options: ChildOptions) -> None:
        """Load the version in `folder`; raises ModelRefusedError when that cannot be done here."""
        _check_packages(mlmodel)
        _check_isolation(options)
        self._mlmodel = mlmodel
        super().__init__(folder, options)
        try:
            self._loaded = self._child.load(folder)
        except BaseException:
            self.close()
            raise

    @property
    def samples(self) -> Mapping[str, Sequence[str]]:
        """Strings that it knows, by column."""
        return self._loaded.samples

    def derived_output(self) -> Output:
        """What the model answers, for a version without a contract of its own.

        Raises:
            ModelRefusedError: no contract can express what its signature says that it answers.
        """
        classes = self._loaded.classes
        if len(classes) == _TWO_CLASSES:
            return Output(name="probability", kind=OutputKind.PROBABILITY)
        if len(classes) > _TWO_CLASSES:
            kind = OutputKind.CLASS_PROBABILITIES
            return Output(name="probabilities", kind=kind, classes=tuple(classes))
        check_outputs(self._mlmodel, only_labels=self._loaded.only_labels)
        return Output()

    def bind(self, contract: Contract) -> ChildRunner:
        """A runner for `contract`; raises ModelRefusedError when they do not fit."""
        _check_patience(contract, self._call_s)
        binding = plan(contract, self._mlmodel, self._loaded)

        def load(child: ChildProcess) -> None:
            child.load(self._folder)

        return self._runner(contract, self._loaded.description, load, binding, binding.names)


class OpenedGraph(_Opened):
    """An ONNX graph that may take any time or memory, opened by a child."""

    def __init__(self, folder: Path, path: Path, options: ChildOptions) -> None:
        """Open the graph at `path`, within `folder`; raises ModelRefusedError when it cannot be."""
        self._path = path
        super().__init__(folder, options)
        try:
            self._loaded = self._child.load_graph(path)
        except BaseException:
            self.close()
            raise

    @property
    def samples(self) -> Mapping[str, Sequence[str]]:
        """Strings that it knows, by feature: a graph answers unknown ones, too."""
        return {}

    def derived_output(self) -> Output:
        """What the graph answers, for a version without a contract of its own."""
        return derive_output(_tensors(self._loaded.outputs))

    def bind(self, contract: Contract) -> ChildRunner:
        """A runner for `contract`; raises ModelRefusedError when they do not fit."""
        _check_patience(contract, self._call_s)
        plan_inputs(_tensors(self._loaded.inputs), contract)
        choose_output(_tensors(self._loaded.outputs), contract.output)

        def load(child: ChildProcess) -> None:
            child.load_graph(self._path)

        binding = BindGraph(contract.to_yaml())
        names = list(contract.names)
        return self._runner(contract, self._loaded.description, load, binding, names)


def _tensors(told: Sequence[GraphTensor]) -> list[Tensor]:
    return [Tensor(tensor.name, tensor.type, tuple(tensor.shape)) for tensor in told]


def _check_isolation(options: ChildOptions) -> None:
    """Refuse, or say in the log, what cannot be confined here."""
    if options.isolation == "off":
        log.warning(
            "SERVING_CHILD_ISOLATION=off: a model's code reaches what this process reaches."
        )
        return
    lacking = gaps()
    if lacking and options.isolation == "required":
        raise ModelNotLoadedError(
            "The model is code, and this machine cannot confine it (SERVING_CHILD_ISOLATION="
            f"required): expected {' and '.join(lacking)}, found none.",
            fix="Run it where the kernel has both, or set SERVING_CHILD_ISOLATION=auto to go "
            "without.",
        )
    if lacking:
        log.warning(
            "This machine has no %s: a model's code reaches more than it should (SECURITY.md).",
            " and no ".join(lacking),
        )


def _whereabouts(options: ChildOptions) -> str:
    """Where a model runs, for `/model`."""
    if options.isolation == "off":
        return "in a process of its own, not confined (SERVING_CHILD_ISOLATION=off)"
    if lacking := gaps():
        return f"in a process of its own, not confined by {' and '.join(lacking)}"
    return "in a process of its own, confined"


def _check_patience(contract: Contract, call_s: float) -> None:
    """Refuse a contract that allows a row more time than this server gives a call.

    A contract that does not state it promises nothing: the server's limit holds.
    """
    row_s = contract.inference_timeout_s
    if "inference_timeout_s" in contract.model_fields_set and row_s > call_s:
        raise ModelRefusedError(
            f"The version's contract allows a row {row_s:g} s (inference_timeout_s), and this "
            f"server ends a call after {call_s:g} s: half of SERVING_REQUEST_TIMEOUT_S.",
            fix=f"Set SERVING_REQUEST_TIMEOUT_S={2 * row_s:g} or more, or register the model with "
            "a shorter inference_timeout_s.",
        )


def _check_packages(mlmodel: Mapping[str, Any]) -> None:
    """Refuse, before a process is started, what this image has not the packages for."""
    flavors = mlmodel.get("flavors")
    for flavor, (package, target) in _IMAGES.items():
        if isinstance(flavors, dict) and flavor in flavors and find_spec(package) is None:
            raise ModelRefusedError(
                f"The version's flavor {flavor} needs the package {package}, which is not "
                "installed here.",
                fix=f"Build the serving image with SERVING_TARGET={target}, or register the model "
                "as ONNX.",
            )
