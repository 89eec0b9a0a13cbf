"""A fitted scikit-learn pipeline as one ONNX graph that answers as the pipeline does.

scikit-learn preprocesses in float64; its trees then compare float32 features with float64
thresholds. ONNX trees have float32 thresholds, and one that is rounded up sends some rows the other
way. So preprocessing stays in float64, one cast follows, and each threshold is rounded down: for
float32 features the comparison is then exactly the same.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, compose, helper, version_converter
from skl2onnx import convert_sklearn  # type: ignore[import-untyped]
from skl2onnx.common.data_types import (  # type: ignore[import-untyped]
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from sklearn.base import BaseEstimator, is_classifier
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from modelyard.contract import Contract, FeatureType, Output, OutputKind
from modelyard.errors import TrainingError
from modelyard.training.package.onnx_export import OPSET, normalise, quiet

_ML_OPSET = 3
_MATRIX = "matrix"
_COLUMN = ".column"
_SKL_TYPES: Mapping[FeatureType, Any] = {
    FeatureType.NUMBER: DoubleTensorType,
    FeatureType.INTEGER: Int64TensorType,
    FeatureType.BOOLEAN: BooleanTensorType,
    FeatureType.STRING: StringTensorType,
    FeatureType.CATEGORY: StringTensorType,
}
_ONNX_TYPES: Mapping[FeatureType, int] = {
    FeatureType.NUMBER: TensorProto.DOUBLE,
    FeatureType.INTEGER: TensorProto.INT64,
    FeatureType.BOOLEAN: TensorProto.BOOL,
    FeatureType.STRING: TensorProto.STRING,
    FeatureType.CATEGORY: TensorProto.STRING,
}


class CompileError(TrainingError):
    """A pipeline cannot be written as an ONNX graph."""


def compilers(
    pipeline: BaseEstimator, contract: Contract, order: list[int]
) -> Mapping[str, Callable[[], onnx.ModelProto]]:
    """Ways to compile `pipeline`, the most exact one first; each may raise CompileError.

    Trees have one way only: a graph with float64 features may agree with them on the test rows and
    differ on another one.

    Args:
        pipeline: fitted on a DataFrame with the contract's features.
        order: columns of the classifier's probabilities in the order of the contract's classes.
    """
    final = pipeline.steps[-1][1] if isinstance(pipeline, Pipeline) else pipeline
    single = {"with float32 features": lambda: _compile(pipeline, contract, order, single=True)}
    if next(_trees(final), None) is not None:
        return single
    return {"in float64": lambda: _compile(pipeline, contract, order, single=False), **single}


def _compile(
    pipeline: BaseEstimator, contract: Contract, order: list[int], *, single: bool
) -> onnx.ModelProto:
    steps = pipeline.steps if isinstance(pipeline, Pipeline) else [("model", pipeline)]
    before, final = [step for step in steps[:-1] if step[1] != "passthrough"], steps[-1][1]
    try:
        with quiet("skl2onnx"):
            matrix = _preprocessing(before, contract)
            estimator = _estimator(final, single=single)
            return normalise(_join(matrix, estimator, contract, order, cast=single))
    except TrainingError:
        raise
    except Exception as error:  # skl2onnx and onnx have no error class of their own
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise CompileError(f"It cannot be written as an ONNX graph: {why}") from error


def _preprocessing(before: list[tuple[str, Any]], contract: Contract) -> onnx.ModelProto:
    """All steps before the last as a graph: columns [n, 1] → float64 matrix [n, k]."""
    names = list(contract.names)
    if not before:
        if strings := [f.name for f in contract.features if _SKL_TYPES[f.type] is StringTensorType]:
            raise CompileError(f"Nothing encodes {', '.join(strings)}.")
        passing = ColumnTransformer([("columns", "passthrough", names)])
        row = pd.DataFrame([dict(contract.example)])[names]
        before = [("columns", passing.fit(row))]
    inputs = [(f.name, _SKL_TYPES[f.type]([None, 1])) for f in contract.features]
    model = convert_sklearn(Pipeline(before), initial_types=inputs, target_opset=_opsets())
    (output,) = model.graph.output
    if output.type.tensor_type.elem_type != TensorProto.DOUBLE:
        node = helper.make_node("Cast", [output.name], [_MATRIX], to=TensorProto.DOUBLE)
        model.graph.node.append(node)
        output.name = _MATRIX
        output.type.tensor_type.elem_type = TensorProto.DOUBLE
    return version_converter.convert_version(model, OPSET)


def _estimator(final: Any, *, single: bool) -> onnx.ModelProto:
    """The last step as a graph: matrix [n, k] → label and probabilities, or value."""
    if single:
        final = _rounded_down(final)
    options = {id(final): {"zipmap": False}} if is_classifier(final) else None
    kind = FloatTensorType if single else DoubleTensorType
    model = convert_sklearn(
        final,
        initial_types=[(_MATRIX, kind([None, final.n_features_in_]))],
        target_opset=_opsets(),
        options=options,
    )
    return version_converter.convert_version(model, OPSET)


def _rounded_down(estimator: Any) -> Any:
    """A copy of `estimator` whose tree thresholds are the nearest float32 below or equal."""
    rounded = copy.deepcopy(estimator)
    for tree in _trees(rounded):
        exact = tree.threshold
        single = exact.astype(np.float32)
        above = single.astype(np.float64) > exact
        single[above] = np.nextafter(single[above], np.float32(-np.inf))
        exact[:] = single
    return rounded


def _trees(estimator: Any) -> Iterator[Any]:
    """Every fitted decision tree in `estimator`."""
    if hasattr(estimator, "tree_"):
        yield estimator.tree_
        return
    for part in np.ravel(np.asarray(getattr(estimator, "estimators_", []), dtype=object)):
        yield from _trees(part)


def _join(
    matrix: onnx.ModelProto,
    estimator: onnx.ModelProto,
    contract: Contract,
    order: list[int],
    *,
    cast: bool,
) -> onnx.ModelProto:
    """One graph from columns [n] to the contract's output [n] or [n, classes], float32."""
    first = compose.add_prefix(matrix, "pre.", rename_inputs=False)
    second = compose.add_prefix(estimator, "model.")
    (made,), (wanted,) = first.graph.output, second.graph.input
    if cast:
        first.graph.node.append(
            helper.make_node("Cast", [made.name], ["pre.float32"], to=TensorProto.FLOAT)
        )
        made.name = "pre.float32"
        made.type.tensor_type.elem_type = TensorProto.FLOAT
    first.ir_version = second.ir_version = max(first.ir_version, second.ir_version)
    newest: dict[str, int] = {}
    for opset in (*first.opset_import, *second.opset_import):
        newest[opset.domain] = max(newest.get(opset.domain, 0), opset.version)
    for model in (first, second):
        del model.opset_import[:]
        model.opset_import.extend(helper.make_opsetid(d, v) for d, v in newest.items())
    answer = second.graph.output[-1].name
    joined = compose.merge_models(
        first, second, io_map=[(made.name, wanted.name)], outputs=[answer]
    )
    joined.graph.name = "pipeline"  # the converter gives it a random name
    _take_columns(joined, contract)
    _give_output(joined, answer, contract.output, order)
    return joined


def _take_columns(model: onnx.ModelProto, contract: Contract) -> None:
    """Make the graph take [n]; the converter made it take [n, 1]."""
    graph = model.graph
    axis = helper.make_tensor("column.axis", TensorProto.INT64, [1], [1])
    graph.initializer.append(axis)
    for node in graph.node:
        node.input[:] = [name + _COLUMN if name in contract.names else name for name in node.input]
    del graph.input[:]
    for position, feature in enumerate(contract.features):
        kind = _ONNX_TYPES[feature.type]
        graph.input.append(helper.make_tensor_value_info(feature.name, kind, ["rows"]))
        node = helper.make_node("Unsqueeze", [feature.name, axis.name], [feature.name + _COLUMN])
        graph.node.insert(position, node)


def _give_output(model: onnx.ModelProto, answer: str, output: Output, order: list[int]) -> None:
    """Make the graph's one output what the contract says, in float32."""
    graph = model.graph
    shape: list[str | int] = ["rows"]
    if output.kind is OutputKind.CLASS_PROBABILITIES:
        index = helper.make_tensor("output.order", TensorProto.INT64, [len(order)], order)
        node = helper.make_node("Gather", [answer, index.name], ["output.picked"], axis=1)
        shape.append(len(order))
    elif output.kind is OutputKind.PROBABILITY:
        index = helper.make_tensor("output.order", TensorProto.INT64, [], order[1:])
        node = helper.make_node("Gather", [answer, index.name], ["output.picked"], axis=1)
    else:
        index = helper.make_tensor("output.shape", TensorProto.INT64, [1], [-1])
        node = helper.make_node("Reshape", [answer, index.name], ["output.picked"])
    graph.initializer.append(index)
    graph.node.append(node)
    graph.node.append(
        helper.make_node("Cast", ["output.picked"], [output.name], to=TensorProto.FLOAT)
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(output.name, TensorProto.FLOAT, shape))
    del graph.value_info[:]


def _opsets() -> dict[str, int]:
    return {"": OPSET, "ai.onnx.ml": _ML_OPSET}
