"""Which ONNX graphs are served, what is fed to them and which output is the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelyard.contract import Contract
from modelyard.errors import ModelRefusedError
from modelyard.scoring.onnx.runner import OnnxModel, OnnxRunner
from modelyard.scoring.rows.decoder import RowDecoder
from modelyard.scoring.runner import RunnerError
from support.models.toy import contract_of, contract_with, save_graph

D, F, L, S = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def runner(tmp_path: Path, wanted: Contract, nodes, inputs, outputs, constants=None) -> OnnxRunner:
    path = tmp_path / "model.onnx"
    save_graph(path, nodes, inputs, outputs, constants)
    return OnnxRunner(OnnxModel(path), wanted)


def predict(run: OnnxRunner, wanted: Contract, rows) -> list:
    decoder = RowDecoder(wanted)
    values = [dict(zip(wanted.names, row, strict=True)) for row in rows]
    return run.predict(decoder.columns(decoder.rows(values))).tolist()


def cast(source: str, target: str = "y") -> list:
    return [helper.make_node("Cast", [source], [target], to=F)]


@pytest.mark.parametrize("shape", [["n"], ["n", 1]])
@pytest.mark.parametrize("kind", [D, F, TensorProto.FLOAT16])
def test_a_number_feeds_an_input_of_any_float_and_of_both_shapes(tmp_path, kind, shape):
    wanted = contract_of()
    run = runner(tmp_path, wanted, cast("a"), {"a": (kind, shape)}, {"y": (F, shape)})
    assert predict(run, wanted, [[1.5], [2.0]]) == [1.5, 2.0]


def test_one_tensor_takes_all_numbers_in_the_order_of_the_contract(tmp_path):
    wanted = contract_of(["number", "integer", "boolean"])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    weights = {"w": (F, [3, 1], [100.0, 10.0, 1.0])}
    run = runner(tmp_path, wanted, nodes, {"x": (F, ["n", 3])}, {"y": (F, ["n", 1])}, weights)
    assert predict(run, wanted, [[1, 2, True], [0.5, 3, False]]) == [121.0, 80.0]


def test_one_tensor_of_another_width_is_refused(tmp_path):
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)]
    with pytest.raises(ModelRefusedError, match="takes 3 columns and the contract has 2"):
        runner(
            tmp_path, contract_of(["number"] * 2), nodes, {"x": (F, ["n", 3])}, {"y": (F, ["n"])}
        )


def test_inputs_of_other_names_are_refused_naming_both(tmp_path):
    with pytest.raises(ModelRefusedError, match=r"feature \(a\).*found z: tensor\(float\)\[n\]"):
        runner(tmp_path, contract_of(), cast("z"), {"z": (F, ["n"])}, {"y": (F, ["n"])})


def test_a_fixed_number_of_rows_is_refused(tmp_path):
    with pytest.raises(ModelRefusedError, match="takes a fixed number of rows"):
        runner(tmp_path, contract_of(), cast("a"), {"a": (F, [1])}, {"y": (F, [1])})


@pytest.mark.parametrize(
    ("feature", "kind"),
    [("number", L), ("number", S), ("string", F), ("boolean", S), ("integer", TensorProto.INT32)],
)
def test_an_input_that_could_not_hold_every_allowed_value_is_refused(tmp_path, feature, kind):
    nodes = [helper.make_node("Identity", ["a"], ["z"]), *cast("c")]
    constants = {"c": (D, [1], [1.0])}
    outputs = {"y": (F, [1]), "z": (kind, ["n"])}
    with pytest.raises(ModelRefusedError, match="cannot take it"):
        runner(tmp_path, contract_of([feature]), nodes, {"a": (kind, ["n"])}, outputs, constants)


def test_an_integer_with_a_range_may_feed_a_small_integer(tmp_path):
    wanted = Contract.model_validate(
        contract_with(
            features=[{"name": "a", "type": "integer", "minimum": 0, "maximum": 255}],
            example={"a": 1},
            output={"name": "y"},
        )
    )
    inputs = {"a": (TensorProto.UINT8, ["n"])}
    run = runner(tmp_path, wanted, cast("a"), inputs, {"y": (F, ["n"])})
    assert predict(run, wanted, [[255], [0]]) == [255.0, 0.0]


def test_a_classifier_as_skl2onnx_writes_it_answers_the_second_class(tmp_path):
    wanted = contract_of(kind="probability")
    nodes = [
        *cast("a", "p"),
        helper.make_node("Sub", ["one", "p"], ["q"]),
        helper.make_node("Concat", ["q", "p"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    outputs = {"label": (L, ["n"]), "probabilities": (F, ["n", 2])}
    run = runner(tmp_path, wanted, nodes, {"a": (D, ["n", 1])}, outputs, {"one": (F, [1], [1.0])})
    assert predict(run, wanted, [[0.25], [1.0]]) == [0.25, 1.0]
    derived = OnnxModel(tmp_path / "model.onnx").derived_output()
    assert derived.kind == "probability"


def test_outputs_that_cannot_be_told_apart_are_refused_naming_them(tmp_path):
    nodes = [*cast("a", "left"), *cast("a", "right")]
    outputs = {"left": (F, ["n"]), "right": (F, ["n"])}
    with pytest.raises(ModelRefusedError, match=r"called y, found left.*right"):
        runner(tmp_path, contract_of(), nodes, {"a": (D, ["n"])}, outputs)


def test_a_dictionary_for_each_row_is_refused(tmp_path):
    """What skl2onnx answers with its default, zipmap."""
    nodes = [
        *cast("a", "x"),
        helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0]),
    ]
    path = tmp_path / "model.onnx"
    save_graph(path, nodes, {"a": (D, ["n", 1])}, {"x": (F, ["n", 1])})
    model = onnx.load(path)
    model.graph.output[0].CopyFrom(_zipmap_output())
    onnx.save(model, path)
    with pytest.raises(ModelRefusedError, match=r"found y: seq\(map"):
        OnnxRunner(OnnxModel(path), contract_of(kind="probability"))


def _zipmap_output():
    mapping = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(F, []))
    return helper.make_value_info("y", helper.make_sequence_type_proto(mapping))


def test_an_answer_of_another_shape_is_an_error_of_the_model(tmp_path):
    wanted = contract_of()
    nodes = [helper.make_node("ReduceSum", ["a"], ["s"], keepdims=1), *cast("s")]
    run = runner(tmp_path, wanted, nodes, {"a": (D, ["n"])}, {"y": (F, [1])})
    assert predict(run, wanted, [[1]]) == [1.0]
    with pytest.raises(RunnerError, match=r"2 rows with the shape \[1\]"):
        predict(run, wanted, [[1], [2]])


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08\x09" * 1000, b'{"a": 1}'])
def test_a_file_that_is_no_graph_is_refused(tmp_path, content: bytes):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelRefusedError, match=r"cannot load model\.onnx"):
        OnnxModel(path)


def test_an_operator_that_is_not_onnxruntimes_own_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    nodes = [helper.make_node("RunShell", ["a"], ["y"], domain="evil")]
    save_graph(path, nodes, {"a": (D, ["n"])}, {"y": (D, ["n"])})
    with pytest.raises(ModelRefusedError):
        OnnxModel(path)


def test_a_closed_runner_raises_like_a_failed_model(tmp_path):
    wanted = contract_of()
    run = runner(tmp_path, wanted, cast("a"), {"a": (D, ["n"])}, {"y": (F, ["n"])})
    run.close()
    with pytest.raises(RunnerError):
        run.predict({"a": np.array([1.0])})
