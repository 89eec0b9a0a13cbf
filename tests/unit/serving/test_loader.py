"""From a registered version to a snapshot: fetched, verified, tried, or refused with a reason."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from modelyard.errors import (
    ModelRefusedError,
)
from modelyard.registry import write_manifest
from modelyard.registry.fetch import Verification
from modelyard.scoring.trial import TrialRow
from support.models.toy import CONTRACT, URI, contract_with, save_graph, save_toy_graph
from support.serving_app import MakeServer, Server


@pytest.fixture
def empty(make_server: MakeServer) -> Server:
    return make_server()


def entries(server: Server) -> list[Path]:
    return sorted((server.folder / "cache" / "versions").iterdir())


# -- what a snapshot says ------------------------------------------------------------------------


def test_a_version_is_fetched_once_and_knows_where_it_comes_from(empty: Server):
    version = empty.registry.add(1)
    snapshot = empty.loader.load(version, None)
    assert snapshot.verification is Verification.VERIFIED
    assert snapshot.origin.commit == "abc123"
    assert snapshot.origin.data_version == "d41d8"
    assert snapshot.origin.metrics["auc"] == 0.9
    assert snapshot.trial_row is TrialRow.EXAMPLE
    empty.loader.load(version, snapshot.contract)
    assert empty.registry.downloads == ["1"]


def test_a_version_without_a_manifest_is_served_and_said_to_be(empty: Server):
    version = empty.registry.add(1, manifest=False)
    assert empty.loader.load(version, None).verification is Verification.ABSENT


def test_a_manifest_without_a_registered_digest_is_told_apart(empty: Server):
    version = empty.registry.add(1, manifest=False)
    write_manifest(Path(version.source))
    assert empty.loader.load(version, None).verification is Verification.UNANCHORED


def test_where_a_manifest_is_required_others_are_refused(make_server: MakeServer):
    server = make_server(require_manifest=True)
    version = server.registry.add(1, manifest=False)
    with pytest.raises(ModelRefusedError, match="carries no manifest"):
        server.loader.load(version, None)
    assert server.loader.load(server.registry.add(2), None).version.version == "2"


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("victim", ["model.onnx", "contract.yaml", "MLmodel", "manifest.json"])
def test_a_tampered_file_is_refused_and_leaves_nothing_in_the_cache(empty: Server, victim: str):
    version = empty.registry.add(1)
    with (Path(version.source) / victim).open("ab") as file:
        file.write(b" ")
    with pytest.raises(ModelRefusedError, match=victim):
        empty.loader.load(version, None)
    assert entries(empty) == []


def test_a_removed_an_added_and_a_missing_manifest_file_are_refused(empty: Server):
    for number, (name, add) in enumerate(
        [("contract.yaml", False), ("extra.py", True), ("manifest.json", False)], start=1
    ):
        version = empty.registry.add(number)
        path = Path(version.source) / name
        if add:
            path.write_text("boo")
        else:
            path.unlink()
        with pytest.raises(ModelRefusedError, match=name):
            empty.loader.load(version, None)


def test_a_model_and_its_manifest_changed_together_are_refused(empty: Server):
    version = empty.registry.add(1)
    save_toy_graph(Path(version.source) / "model.onnx", 666)
    write_manifest(Path(version.source))
    with pytest.raises(ModelRefusedError, match=r"manifest\.json is not the registered one"):
        empty.loader.load(version, None)


def test_a_version_that_is_not_ready_is_refused(empty: Server):
    empty.registry.add(1)
    empty.registry.set_status(1, "PENDING_REGISTRATION")
    with pytest.raises(ModelRefusedError, match="PENDING_REGISTRATION"):
        empty.loader.load(empty.registry.resolve(URI), None)


def simple(nodes, outputs=None, constants=None):
    """A graph over `amount` and `note` alone; the other inputs are not used."""
    inputs = {"amount": (TensorProto.DOUBLE, ["n"]), "note": (TensorProto.STRING, ["n"])}
    return lambda path: save_graph(
        path, nodes, inputs, outputs or {"answer": (TensorProto.DOUBLE, ["n"])}, constants
    )


SIMPLE = contract_with(
    features=[CONTRACT["features"][0], CONTRACT["features"][4]],
    example={"amount": 12.5, "note": "hi"},
)
PROBABILITY = SIMPLE | {"output": {"name": "answer", "kind": "probability"}}
ONE = {"one": (TensorProto.DOUBLE, [1], [1.0]), "none": (TensorProto.DOUBLE, [1], [0.0])}


@pytest.mark.parametrize(
    ("contract", "graph", "message"),
    [
        pytest.param(
            SIMPLE,
            simple([helper.make_node("Div", ["amount", "none"], ["answer"])], None, ONE),
            "not a finite number",
            id="infinite",
        ),
        pytest.param(
            PROBABILITY,
            simple([helper.make_node("Identity", ["amount"], ["answer"])]),
            "no probability",
            id="no probability",
        ),
        pytest.param(
            SIMPLE,
            simple(
                [
                    helper.make_node("ReduceSum", ["amount"], ["total"], keepdims=1),
                    helper.make_node("Mul", ["amount", "total"], ["answer"]),
                ]
            ),
            "not independent",
            id="rows see each other",
        ),
        pytest.param(
            SIMPLE,
            simple([helper.make_node("ReduceSum", ["amount"], ["answer"], keepdims=1)]),
            "the shape",
            id="one answer for all rows",
        ),
        pytest.param(
            SIMPLE,
            simple(
                [
                    helper.make_node("Cast", ["note"], ["parsed"], to=TensorProto.DOUBLE),
                    helper.make_node("Add", ["amount", "parsed"], ["answer"]),
                ]
            ),
            "failed on its own example",
            id="raises",
        ),
    ],
)
def test_a_model_that_fails_its_own_example_is_refused(empty: Server, contract, graph, message):
    version = empty.registry.add(1, contract=contract, graph=graph)
    with pytest.raises(ModelRefusedError, match=message):
        empty.loader.load(version, None)


def test_a_model_slower_than_its_contract_allows_is_refused(empty: Server):
    """Ten thousand million steps; the abandoned run ends when its session is dropped."""

    def loop(path: Path) -> None:
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["going"], ["still"]),
                helper.make_node("Add", ["x", "x"], ["y"]),
            ],
            "body",
            [
                helper.make_tensor_value_info("i", TensorProto.INT64, []),
                helper.make_tensor_value_info("going", TensorProto.BOOL, []),
                helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n"]),
            ],
            [
                helper.make_tensor_value_info("still", TensorProto.BOOL, []),
                helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["n"]),
            ],
        )
        node = helper.make_node("Loop", ["steps", "yes", "amount"], ["answer"], body=body)
        constants = {
            "steps": (TensorProto.INT64, [], [10**10]),
            "yes": (TensorProto.BOOL, [], [True]),
        }
        simple([node], None, constants)(path)

    contract = SIMPLE | {"inference_timeout_s": 0.05}
    version = empty.registry.add(1, contract=contract, graph=loop)
    with pytest.raises(ModelRefusedError, match=r"within 0\.05 s"):
        empty.loader.load(version, None)
    for thread in threading.enumerate():
        if thread.name == "try-model":
            thread.join(30)
            assert not thread.is_alive()


# -- schema --------------------------------------------------------------------------------------


def test_a_breaking_version_is_served_when_the_settings_allow_it(make_server: MakeServer):
    for allowed in (False, True):
        server = make_server(allow_schema_change=allowed)
        old = server.loader.load(server.registry.add(1), None)
        version = server.registry.add(
            2, contract=SIMPLE, graph=simple([helper.make_node("Identity", ["amount"], ["answer"])])
        )
        if allowed:
            assert server.loader.load(version, old.contract).contract.names == ("amount", "note")
        else:
            with pytest.raises(ModelRefusedError, match="hour is gone") as refusal:
                server.loader.load(version, old.contract)
            assert "SERVING_ALLOW_SCHEMA_CHANGE" in refusal.value.fix
