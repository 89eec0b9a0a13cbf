"""A package is whole, loads in MLflow, and is refused when it breaks its contract."""

from __future__ import annotations

import platform
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelyard.contract import Contract, Feature, FeatureType
from modelyard.errors import ModelRefusedError, TrainingError
from modelyard.registry.manifest import read_manifest, verify_files
from modelyard.training.package.folder import check_parity, signature_of, write_package
from modelyard.training.package.onnx_export import OPSET, encode_category, normalise

CONTRACT = Contract(
    features=(Feature(name="x", type=FeatureType.NUMBER),), example={"x": 2.0}
)  # fmt: skip


def doubling(input_name: str = "x", output_name: str = "prediction") -> onnx.ModelProto:
    graph = helper.make_graph(
        [
            helper.make_node("Add", [input_name, input_name], ["sum"]),
            helper.make_node("Cast", ["sum"], [output_name], to=TensorProto.FLOAT),
        ],
        "doubling",
        [helper.make_tensor_value_info(input_name, TensorProto.DOUBLE, ["rows"])],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ["rows"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 10
    return normalise(model)


def test_a_package_holds_what_mlflow_and_serving_need_and_its_manifest_covers_all(tmp_path: Path):
    folder = tmp_path / "model"
    digest = write_package(folder, doubling(), CONTRACT, run_id="r", model_id="m-1")
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {"MLmodel", "model.onnx", "contract.yaml", "manifest.json", "requirements.txt"} <= files
    manifest = read_manifest(folder, digest)
    assert manifest is not None
    assert set(manifest) == files - {"manifest.json"}
    verify_files(folder, manifest)
    written = Contract.from_yaml((folder / "contract.yaml").read_text())
    assert written.python_version == platform.python_version()
    assert written.model_copy(update={"python_version": None}) == CONTRACT
    assert mlflow.models.Model.load(str(folder)).signature == signature_of(CONTRACT)


@pytest.mark.parametrize("change", ["alter", "remove", "add", "manifest"])
def test_every_later_change_of_a_file_is_found(tmp_path: Path, change: str):
    folder = tmp_path / "model"
    digest = write_package(folder, doubling(), CONTRACT, run_id="r", model_id="m-1")
    match change:
        case "alter":
            (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
        case "remove":
            (folder / "contract.yaml").unlink()
        case "add":
            (folder / "extra.py").write_text("x = 1")
        case "manifest":
            (folder / "manifest.json").write_text('{"format": 1, "sha256": {}}')
    with pytest.raises(ModelRefusedError):
        verify_files(folder, read_manifest(folder, digest) or {})


def test_parity_is_the_largest_difference():
    columns = {"x": np.array([1.0, 2.0])}
    assert check_parity(doubling(), CONTRACT, columns, np.array([2.0, 4.0])) == 0
    expected = np.array([2.0, 4.0 + 5e-6])  # relative, of values beyond 1
    found = check_parity(doubling(), CONTRACT, columns, expected)
    assert found == pytest.approx(5e-6 / 4, rel=0.1)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (doubling(), np.array([2.0, 4.1])),
        (doubling(), np.array([2.0, np.nan])),
        (doubling(), np.array([[2.0], [4.0]])),
        (doubling(input_name="z"), np.array([2.0, 4.0])),
    ],
)
def test_a_graph_that_answers_otherwise_is_refused(graph: onnx.ModelProto, expected: np.ndarray):
    with pytest.raises(TrainingError):
        check_parity(graph, CONTRACT, {"x": np.array([1.0, 2.0])}, expected)


def test_categories_enter_as_strings_and_unknown_ones_get_their_own_code():
    graph = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["prediction"])],
        "codes",
        [helper.make_tensor_value_info("c", TensorProto.INT64, ["rows"])],
        [helper.make_tensor_value_info("prediction", TensorProto.INT64, ["rows"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 10
    encoded = normalise(encode_category(model, "c", ("a", "b")))
    contract = Contract(
        features=(Feature(name="c", type=FeatureType.CATEGORY, categories=("a", "b")),),
        example={"c": "a"},
    )
    columns = {"c": np.array(["b", "a", "?"], dtype=object)}
    assert check_parity(encoded, contract, columns, np.array([1, 0, -1])) == 0
