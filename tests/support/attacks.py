"""Model versions made to run code, or to reach outside of their folder.

Every one is made of a good version without a manifest, as by somebody who may write to the
artifact store: what refuses it has to be the look at what it is. The canary is a file that each of
them would make.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.external_data_helper
from onnx import TensorProto, helper

from support.models.toy import save_graph

Attack = Callable[[Path, Path], None]
ATTACKS: dict[str, Attack] = {}
PYFUNC = "flavors:\n  python_function:\n    loader_module: {loader}\n    {more}\n"


def attack(make: Attack) -> Attack:
    """`make(folder, canary)` turns a good version in `folder` into a bad one."""
    ATTACKS[make.__name__] = make
    return make


class Bomb:
    """Unpickling it makes the canary."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self):
        return (os.system, (f"touch {self._canary}",))


def python(canary: Path) -> str:
    return (
        f"open({str(canary)!r}, 'w')\n\ndef _load_pyfunc(path):\n    open({str(canary)!r}, 'w')\n"
    )


def without_graph(folder: Path) -> None:
    (folder / "model.onnx").unlink()


# -- pickles, in each place from which MLflow loads one --------------------------------------------


@attack
def pickle_of_the_sklearn_flavor(folder: Path, canary: Path) -> None:
    without_graph(folder)
    (folder / "model.pkl").write_bytes(pickle.dumps(Bomb(canary)))
    (folder / "MLmodel").write_text(
        "flavors:\n  sklearn: {pickled_model: model.pkl, serialization_format: pickle}\n"
        "  python_function: {loader_module: mlflow.sklearn, model_path: model.pkl}\n"
    )


@attack
def cloudpickled_python_model(folder: Path, canary: Path) -> None:
    without_graph(folder)
    (folder / "python_model.pkl").write_bytes(pickle.dumps(Bomb(canary)))
    (folder / "MLmodel").write_text(
        PYFUNC.format(loader="mlflow.pyfunc.model", more="python_model: python_model.pkl")
    )


@attack
def pickle_of_the_pytorch_flavor(folder: Path, canary: Path) -> None:
    without_graph(folder)
    (folder / "data").mkdir()
    (folder / "data" / "model.pth").write_bytes(pickle.dumps(Bomb(canary)))
    (folder / "data" / "pickle_module_info.txt").write_text("pickle")
    (folder / "MLmodel").write_text(
        "flavors:\n  pytorch: {model_data: data}\n"
        "  python_function: {loader_module: mlflow.pytorch, data: data}\n"
    )


@attack
def pickle_that_is_called_onnx(folder: Path, canary: Path) -> None:
    (folder / "model.onnx").write_bytes(pickle.dumps(Bomb(canary)))


@attack
def skops_with_an_untrusted_type(folder: Path, canary: Path) -> None:
    without_graph(folder)
    schema = {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode",
              "content": {"args": f"touch {canary}"}}  # fmt: skip
    with zipfile.ZipFile(folder / "model.skops", "w") as file:
        file.writestr("schema.json", json.dumps(schema))
        file.writestr("../../escape.pkl", pickle.dumps(Bomb(canary)))
    (folder / "MLmodel").write_text(
        "flavors:\n  sklearn: {pickled_model: model.skops, serialization_format: skops}\n"
        "  python_function: {loader_module: mlflow.sklearn, model_path: model.skops}\n"
    )


@attack
def pickled_array_in_the_example(folder: Path, canary: Path) -> None:
    (folder / "contract.yaml").unlink()
    buffer = io.BytesIO()
    np.save(buffer, np.array([Bomb(canary)], object), allow_pickle=True)
    (folder / "input_example.json").write_bytes(buffer.getvalue())
    (folder / "MLmodel").write_text(
        json.dumps(
            {
                "flavors": {"onnx": {"data": "model.onnx"}},
                "saved_input_example_info": {"artifact_path": "input_example.json"},
            }
        )
    )


# -- code ------------------------------------------------------------------------------------------


@attack
def loader_module_in_the_version(folder: Path, canary: Path) -> None:
    (folder / "code").mkdir()
    (folder / "code" / "evil_loader.py").write_text(python(canary))
    (folder / "MLmodel").write_text(PYFUNC.format(loader="evil_loader", more="code: code"))


@attack
def loader_module_of_the_server(folder: Path, canary: Path) -> None:
    (folder / "MLmodel").write_text(PYFUNC.format(loader="antigravity", more="data: model.onnx"))


@attack
def models_from_code(folder: Path, canary: Path) -> None:
    without_graph(folder)
    (folder / "model.py").write_text(python(canary))
    (folder / "MLmodel").write_text(
        PYFUNC.format(loader="mlflow.pyfunc.model", more="model_code_path: model.py")
    )


@attack
def environment_hooks(folder: Path, canary: Path) -> None:
    without_graph(folder)
    command = f"!touch {canary}"
    (folder / "conda.yaml").write_text(f"dependencies: [{{pip: ['{command}']}}]\n")
    (folder / "python_env.yaml").write_text(f"build_dependencies: ['{command}']\n")
    (folder / "requirements.txt").write_text(f"--find-links {folder}\nevil @ file://{folder}\n")
    (folder / "setup.py").write_text(python(canary))
    (folder / "MLmodel").write_text(
        PYFUNC.format(loader="mlflow.pyfunc.model", more="env: {conda: conda.yaml}")
    )


@attack
def python_tags_in_mlmodel(folder: Path, canary: Path) -> None:
    (folder / "MLmodel").write_text(
        f"flavors: !!python/object/apply:os.system ['touch {canary}']\n"
    )


@attack
def python_tags_in_the_contract(folder: Path, canary: Path) -> None:
    (folder / "contract.yaml").write_text(
        f"description: !!python/object/apply:os.system ['touch {canary}']\n"
    )


@attack
def yaml_that_unfolds_without_end(folder: Path, canary: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    (folder / "contract.yaml").write_text("\n".join(lines))


# -- ONNX files that are more than a graph ---------------------------------------------------------


def graph_with_weights_at(folder: Path, location: str) -> None:
    nodes = [
        helper.make_node("Add", ["amount", "w"], ["s"]),
        helper.make_node("Cast", ["s"], ["answer"], to=TensorProto.FLOAT),
    ]
    inputs = {"amount": (TensorProto.DOUBLE, ["n"])}
    weights = {"w": (TensorProto.DOUBLE, [1], [1.0])}
    path = folder / "model.onnx"
    save_graph(path, nodes, inputs, {"answer": (TensorProto.FLOAT, ["n"])}, weights)
    model = onnx.load(path)
    weight = model.graph.initializer[0]
    weight.ClearField("double_data")
    weight.raw_data = b"\x00" * 8
    onnx.external_data_helper.set_external_data(weight, location, offset=0, length=8)
    weight.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())


@attack
def weights_in_a_file_outside(folder: Path, canary: Path) -> None:
    (folder.parent / "secret").write_bytes(b"12345678")
    graph_with_weights_at(folder, "../secret")


@attack
def weights_at_an_absolute_path(folder: Path, canary: Path) -> None:
    graph_with_weights_at(folder, "/etc/passwd")


@attack
def weights_behind_a_link(folder: Path, canary: Path) -> None:
    (folder / "weights.bin").symlink_to("/etc/passwd")
    graph_with_weights_at(folder, "weights.bin")


@attack
def operator_of_another_library(folder: Path, canary: Path) -> None:
    nodes = [helper.make_node("RunShell", ["amount"], ["answer"], domain="evil.ops")]
    outputs = {"answer": (TensorProto.DOUBLE, ["n"])}
    save_graph(folder / "model.onnx", nodes, {"amount": (TensorProto.DOUBLE, ["n"])}, outputs)


@attack
def python_operator(folder: Path, canary: Path) -> None:
    nodes = [helper.make_node("PyOp", ["amount"], ["answer"], domain="ai.onnx.contrib",
                              module="os", class_name="system")]  # fmt: skip
    outputs = {"answer": (TensorProto.DOUBLE, ["n"])}
    save_graph(folder / "model.onnx", nodes, {"amount": (TensorProto.DOUBLE, ["n"])}, outputs)


@attack
def tensor_that_claims_to_be_huge(folder: Path, canary: Path) -> None:
    path = folder / "model.onnx"
    nodes = [helper.make_node("Add", ["amount", "w"], ["answer"])]
    outputs = {"answer": (TensorProto.DOUBLE, ["n"])}
    weights = {"w": (TensorProto.DOUBLE, [1], [1.0])}
    save_graph(path, nodes, {"amount": (TensorProto.DOUBLE, ["n"])}, outputs, weights)
    model = onnx.load(path)
    model.graph.initializer[0].dims[:] = [2**40, 2**20]
    path.write_bytes(model.SerializeToString())


@attack
def graph_that_asks_for_petabytes(folder: Path, canary: Path) -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["offset"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["amount", "offset"], ["answer"]),
    ]
    sizes = {"size": (TensorProto.INT64, [2], [2**25, 2**25])}
    outputs = {"answer": (TensorProto.DOUBLE, ["n"])}
    inputs = {"amount": (TensorProto.DOUBLE, ["n"])}
    save_graph(folder / "model.onnx", nodes, inputs, outputs, sizes)


# -- names and links -------------------------------------------------------------------------------


@attack
def graph_that_is_a_link(folder: Path, canary: Path) -> None:
    elsewhere = folder.parent / "elsewhere.onnx"
    elsewhere.write_bytes((folder / "model.onnx").read_bytes())
    without_graph(folder)
    (folder / "model.onnx").symlink_to(elsewhere)


@attack
def folder_that_is_a_link(folder: Path, canary: Path) -> None:
    (folder / "data").symlink_to("/etc")


@attack
def graph_by_a_path_that_leads_out(folder: Path, canary: Path) -> None:
    (folder.parent / "out.onnx").write_bytes((folder / "model.onnx").read_bytes())
    (folder / "MLmodel").write_text("flavors:\n  onnx: {data: ../out.onnx}\n")


@attack
def graph_in_an_archive_with_names_that_lead_out(folder: Path, canary: Path) -> None:
    graph = (folder / "model.onnx").read_bytes()
    with zipfile.ZipFile(folder / "model.onnx", "w") as file:
        file.writestr("model.onnx", graph)
        file.writestr("../../../../tmp/evil.py", python(canary))


@attack
def pipe_in_the_place_of_the_contract(folder: Path, canary: Path) -> None:
    (folder / "contract.yaml").unlink()
    os.mkfifo(folder / "contract.yaml")
