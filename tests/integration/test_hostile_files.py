"""A version's files may be anything: none is read in the server before it was read elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from modelyard.contract import Contract
from modelyard.errors import ModelRefusedError
from modelyard.registry import write_manifest
from modelyard.scoring.proof import ProofLimits
from support.models.code import write_code_version
from support.models.folders import write_version
from support.models.toy import CONTRACT
from support.serving_app import MakeServer

MIB = 2**20
DEEP = "[" * 300_000
SECRET = "secret-weights"


def peak_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def signature(inputs: str) -> str:
    flavor = "flavors: {python_function: {loader_module: none}}"
    return f"{flavor}\nsignature: {{inputs: {json.dumps(inputs)}}}\n"


def without_contract(mlmodel: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "contract.yaml").unlink()
        (folder / "MLmodel").write_text(mlmodel)

    return change


def with_bytes(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return change


def with_text(name: str, text: str) -> Callable[[Path], None]:
    return with_bytes(name, text.encode())


def graph_of(nodes: list, external: str = "") -> Callable[[Path], None]:
    """A graph that answers the amount; its one weight may lie in another file."""

    def change(folder: Path) -> None:
        weight = TensorProto(name="w", data_type=TensorProto.DOUBLE, dims=[1], raw_data=bytes(8))
        if external:
            weight.ClearField("raw_data")
            weight.data_location = TensorProto.EXTERNAL
            weight.external_data.add(key="location", value=external)
        graph = helper.make_graph(
            [*nodes, helper.make_node("Add", ["amount", "w"], ["answer"])],
            "graph",
            [helper.make_tensor_value_info("amount", TensorProto.DOUBLE, ["n"])],
            [helper.make_tensor_value_info("answer", TensorProto.DOUBLE, ["n"])],
            [weight],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return change


MANY = [helper.make_node("Identity", ["amount"], [f"n{n}"]) for n in range(100_000)]
BOMBS: dict[str, tuple[Callable[[Path], None], str]] = {
    "MLmodel of 60 MB": (with_text("MLmodel", "a: 1\n" * 12_000_000), "too long"),
    "MLmodel nested": (with_text("MLmodel", f"a: {DEEP}"), "nested more than"),
    "MLmodel no text": (with_bytes("MLmodel", b"\xff\xfe" * 9), "MLmodel"),
    "contract of 60 MB": (with_text("contract.yaml", "a: 1\n" * 12_000_000), "too long"),
    "contract nested": (with_text("contract.yaml", f"features: {DEEP}"), "nested more than"),
    "signature nested": (without_contract(signature(DEEP)), "neither contract.yaml nor"),
    "signature's number": (without_contract(signature("9" * 300_000)), "neither contract.yaml nor"),
    "graph cut short": (with_bytes("model.onnx", b"\x3a\xff\xff\xff\xff\x7f"), "cannot load"),
    "graph's weights elsewhere": (graph_of([], f"../../{SECRET}"), ""),
}  # fmt: skip


ONE_INPUT = CONTRACT | {"features": [CONTRACT["features"][0]], "example": {"amount": 12.5}}


def write_with(change: Callable[[Path], None]) -> Callable[..., str]:
    def write(folder: Path, number: int = 1) -> str:
        is_graph = "graph_of" in change.__qualname__
        write_version(folder, number, contract=ONE_INPUT if is_graph else CONTRACT, manifest=False)
        change(folder)
        return ""

    return write


@pytest.mark.parametrize(
    ("what", "is_serving"),
    [
        *((what, True) for what in BOMBS),
        # nothing is proved there; a child takes a signature apart before the server does
        *((what, False) for what in BOMBS if not what.startswith("signature")),
    ],
)
def test_a_version_of_hostile_files_is_refused_for_little(
    make_server: MakeServer, what: str, is_serving: bool
):
    change, words = BOMBS[what]
    server = make_server()
    (server.folder / SECRET).write_bytes(bytes(8))
    version = server.registry.add(1, write=write_with(change))
    before = peak_bytes()
    with pytest.raises(ModelRefusedError) as refusal:
        server.loader.load(version, Contract.model_validate(CONTRACT) if is_serving else None)
    assert words in refusal.value.detail
    assert peak_bytes() - before < 200 * MIB


def test_a_graph_of_very_many_nodes_costs_the_server_nothing(make_server: MakeServer):
    server = make_server()
    server.loader._proof = ProofLimits(seconds=0.5)
    version = server.registry.add(1, write=write_with(graph_of(MANY)))
    before = peak_bytes()
    with pytest.raises(ModelRefusedError, match=r"within 0.5 s"):
        server.loader.load(version, Contract.model_validate(CONTRACT))
    assert peak_bytes() - before < 200 * MIB


def test_a_manifest_that_is_none_is_refused(make_server: MakeServer):
    def write(folder: Path, number: int = 1) -> str:
        write_version(folder, number)
        (folder / "manifest.json").write_text(DEEP)
        return ""

    server = make_server()
    with pytest.raises(ModelRefusedError, match="not a manifest"):
        server.loader.load(server.registry.add(1, write=write), None)


def test_code_is_not_started_for_a_version_whose_files_cannot_be_read(make_server: MakeServer):
    def write(folder: Path, number: int = 1) -> str:
        write_code_version(folder, number, load="raise RuntimeError('started')")
        (folder / "contract.yaml").write_text(DEEP)
        return write_manifest(folder)

    server = make_server()
    with pytest.raises(ModelRefusedError) as refusal:
        server.loader.load(server.registry.add(1, write=write), Contract.model_validate(CONTRACT))
    assert "nested" in refusal.value.detail
    assert "started" not in refusal.value.sentence()
