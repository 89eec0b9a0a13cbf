"""A version's files: where the graph is, and which contract holds."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnx.external_data_helper
import pytest
from onnx import TensorProto, helper

from modelyard.errors import ContractError, ModelRefusedError
from modelyard.scoring.bundle import ContractSource, open_bundle
from support.models.folders import write_version
from support.models.toy import ROW, save_graph


def with_signature(folder: Path, columns: list[dict[str, str]] | None, example=None) -> Path:
    """The toy graph with an MLmodel as MLflow writes it, and no contract."""
    write_version(folder, contract=None)
    signature = {"inputs": json.dumps(columns), "outputs": None} if columns is not None else None
    mlmodel = {"flavors": {"onnx": {"data": "model.onnx"}}, "signature": signature}
    if example is not None:
        mlmodel["saved_input_example_info"] = {"artifact_path": "input_example.json"}
        (folder / "input_example.json").write_text(json.dumps(example))
    (folder / "MLmodel").write_text(json.dumps(mlmodel))
    return folder


SIGNATURE = [
    {"type": "double", "name": "amount", "required": True},
    {"type": "string", "name": "merchant_category"},
    {"type": "long", "name": "hour"},
    {"type": "boolean", "name": "is online"},
    {"type": "string", "name": "note"},
]


def test_the_contract_in_the_version_holds(tmp_path):
    write_version(tmp_path / "v")
    bundle = open_bundle(tmp_path / "v", None)
    assert bundle.contract_source is ContractSource.CONTRACT
    assert bundle.contract.example == ROW
    assert bundle.has_example


def test_without_a_contract_the_signature_tells_names_and_types(tmp_path):
    example = {"columns": list(ROW), "data": [list(ROW.values())]}
    bundle = open_bundle(with_signature(tmp_path / "v", SIGNATURE, example), None)
    assert bundle.contract_source is ContractSource.SIGNATURE
    assert [f.type.value for f in bundle.contract.features] == [
        *("number", "string", "integer", "boolean", "string")
    ]
    assert bundle.contract.example == ROW
    assert bundle.has_example


@pytest.mark.parametrize(
    "example",
    [
        None,
        {"columns": ["other"], "data": [[1]]},
        {"columns": list(ROW), "data": []},
        {"columns": list(ROW), "data": [[float("nan"), "a", 1, True, "x"]]},
        {"columns": list(ROW), "data": [["12", "a", 1, True, "x"]]},
        [1, 2],
    ],
)
def test_without_a_usable_example_there_is_a_placeholder_that_is_not_tried(tmp_path, example):
    bundle = open_bundle(with_signature(tmp_path / "v", SIGNATURE, example), None)
    assert not bundle.has_example
    assert set(bundle.contract.example) == set(ROW)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (None, "neither contract.yaml nor an MLflow signature"),
        ([{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3]}}], "neither"),
        ([{"type": "binary", "name": "amount"}], 'column "amount" is of the type binary'),
        ([{"type": "double", "name": "a/b"}], "a name that no feature may have"),
        ([{"type": "double", "name": "a"}, {"type": "double", "name": "a"}], "stands twice"),
    ],
)
def test_a_signature_that_says_too_little_is_refused(tmp_path, columns, message):
    with pytest.raises(ModelRefusedError, match=message):
        open_bundle(with_signature(tmp_path / "v", columns), None)


def test_a_version_without_a_graph_is_refused_saying_what_it_holds(tmp_path):
    (tmp_path / "MLmodel").write_text("flavors:\n  sklearn: {}\n  python_function: {}\n")
    (tmp_path / "model.skops").write_bytes(b"x")
    with pytest.raises(ModelRefusedError) as refusal:
        open_bundle(tmp_path, None)
    assert "Only ONNX is served here" in refusal.value.detail
    assert "the flavors sklearn, python_function" in refusal.value.detail
    assert "model.skops" in refusal.value.detail


def test_a_lone_graph_needs_no_mlmodel_and_two_graphs_do(tmp_path):
    write_version(tmp_path)
    (tmp_path / "MLmodel").unlink()
    open_bundle(tmp_path, None)
    (tmp_path / "other.onnx").write_bytes((tmp_path / "model.onnx").read_bytes())
    with pytest.raises(ModelRefusedError, match="2 ONNX graphs"):
        open_bundle(tmp_path, None)


@pytest.mark.parametrize("data", ["../outside.onnx", "/etc/passwd", "missing.onnx"])
def test_a_graph_outside_the_version_is_refused(tmp_path, data: str):
    write_version(tmp_path / "v")
    (tmp_path / "outside.onnx").write_bytes((tmp_path / "v" / "model.onnx").read_bytes())
    (tmp_path / "v" / "MLmodel").write_text(json.dumps({"flavors": {"onnx": {"data": data}}}))
    with pytest.raises(ModelRefusedError, match="not among the version's files"):
        open_bundle(tmp_path / "v", None)


def test_weights_outside_the_version_are_refused(tmp_path):
    """An ONNX file may name other files for its weights."""

    def graph(path: Path) -> None:
        nodes = [
            helper.make_node("Add", ["amount", "w"], ["s"]),
            helper.make_node("Cast", ["s"], ["answer"], to=TensorProto.FLOAT),
        ]
        inputs = {"amount": (TensorProto.DOUBLE, ["n"])}
        weights = {"w": (TensorProto.DOUBLE, [1], [1.0])}
        save_graph(path, nodes, inputs, {"answer": (TensorProto.FLOAT, ["n"])}, weights)
        model = onnx.load(path)
        weight = model.graph.initializer[0]
        weight.ClearField("double_data")
        weight.raw_data = b"\x00" * 8
        onnx.external_data_helper.set_external_data(weight, "../secret", offset=0, length=8)
        weight.ClearField("raw_data")
        path.write_bytes(model.SerializeToString())

    (tmp_path / "secret").write_bytes(b"\x00" * 8)
    write_version(tmp_path / "v", graph=graph)
    with pytest.raises(ModelRefusedError):
        open_bundle(tmp_path / "v", None)


@pytest.mark.parametrize("text", ["a: [", "- 1", "a: 1\na: 2", "!!python/object:os.system {}"])
def test_an_mlmodel_or_contract_that_is_no_plain_yaml_is_refused(tmp_path, text: str):
    write_version(tmp_path)
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(ModelRefusedError, match="MLmodel cannot be read"):
        open_bundle(tmp_path, None)
    write_version(tmp_path)
    (tmp_path / "contract.yaml").write_text(text)
    with pytest.raises((ModelRefusedError, ContractError), match=r"contract\.yaml"):
        open_bundle(tmp_path, None)
