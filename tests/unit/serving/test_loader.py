"""From a registered version to a snapshot: fetched, verified, tried, or refused with a reason."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from modelyard.errors import (
    ConfigError,
    ModelRefusedError,
    RegistryNotFoundError,
    RegistryUnavailableError,
)
from modelyard.registry import write_manifest
from modelyard.serving.cache import VersionCache
from modelyard.serving.loader import Loader
from modelyard.serving.snapshot import Verification
from unit.serving.conftest import MakeServer, Server
from unit.serving.model_folders import (
    CONTRACT,
    URI,
    FolderRegistry,
    contract_with,
    save_graph,
    save_toy_graph,
)


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
    assert snapshot.lineage.commit == "abc123"
    assert snapshot.lineage.data_version == "d41d8"
    assert snapshot.lineage.metrics["auc"] == 0.9
    assert snapshot.example_tried
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
    server = make_server(serving_require_manifest=True)
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
        server = make_server(serving_allow_schema_change=allowed)
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


# -- cache ---------------------------------------------------------------------------------------


def test_what_was_served_last_needs_no_registry(empty: Server):
    empty.loader.load(empty.registry.add(1), None)
    empty.loader.load(empty.registry.add(2), None)
    empty.registry.reachable = False
    snapshot = empty.loader.load_remembered()
    assert snapshot.version.version == "2"
    assert snapshot.lineage.metrics["auc"] == 0.9
    assert snapshot.verification is Verification.VERIFIED


def test_nothing_is_remembered_for_another_address_or_registry(empty: Server):
    empty.loader.load(empty.registry.add(1), None)
    registry = FolderRegistry(empty.folder / "registry", tracking_uri="http://other.invalid")
    options = {"require_manifest": False, "allow_schema_change": False}
    assert Loader(URI, registry, empty.cache, **options).load_remembered() is None


@pytest.mark.parametrize("manifest", [True, False])
def test_a_damaged_entry_is_fetched_again(empty: Server, manifest: bool):
    version = empty.registry.add(1, manifest=manifest)
    empty.loader.load(version, None)
    (entries(empty)[0] / "files" / "model.onnx").write_bytes(b"rot")
    assert empty.loader.load(version, None).version.version == "1"
    assert empty.registry.downloads == ["1", "1"]


@pytest.mark.parametrize("manifest", [True, False])
def test_a_damaged_entry_is_not_served_when_the_registry_is_down(empty: Server, manifest: bool):
    empty.loader.load(empty.registry.add(1, manifest=manifest), None)
    (entries(empty)[0] / "files" / "model.onnx").write_bytes(b"rot")
    with pytest.raises(ModelRefusedError, match=r"model\.onnx was changed"):
        empty.loader.load_remembered()


def test_a_half_written_entry_or_memory_counts_as_none(empty: Server):
    version = empty.registry.add(1)
    empty.loader.load(version, None)
    (entries(empty)[0] / "entry.json").write_text('{"version": ')
    assert empty.loader.load_remembered() is None
    assert empty.loader.load(version, None).version.version == "1"
    for pointer in (empty.folder / "cache" / "served").iterdir():
        pointer.write_text("")
    assert empty.loader.load_remembered() is None


def test_a_version_deleted_and_registered_again_is_another_one(empty: Server):
    empty.loader.load(empty.registry.add(1), None)
    again = empty.registry.add(1, contract=contract_with(description="again"))
    assert empty.loader.load(again, None).contract.description == "again"
    assert empty.registry.downloads == ["1", "1"]


def test_the_cache_keeps_the_versions_that_were_used_last(make_server: MakeServer):
    server = make_server(serving_cache_versions=2)
    versions = [server.registry.add(number) for number in (1, 2, 3)]
    for version in versions:
        server.loader.load(version, None)
    server.loader.load(versions[1], None)
    assert server.registry.downloads == ["1", "2", "3"]
    server.loader.load(versions[0], None)
    assert server.registry.downloads == ["1", "2", "3", "1"]
    assert len(entries(server)) == 2


def test_a_download_that_breaks_off_leaves_nothing(empty: Server):
    version = empty.registry.add(1)
    empty.registry.reachable = False
    with pytest.raises(RegistryUnavailableError):
        empty.loader.load(version, None)
    empty.registry.reachable = True
    empty.registry.versions["1"] = lost = version.__class__(
        **{**version.__dict__, "source": str(empty.folder / "lost")}
    )
    with pytest.raises(RegistryNotFoundError, match="not in the artifact store"):
        empty.loader.load(lost, None)
    assert entries(empty) == []
    assert list((empty.folder / "cache" / "incoming").iterdir()) == []


def test_servers_that_share_a_cache_do_not_break_each_other(tmp_path: Path):
    registry = FolderRegistry(tmp_path / "registry")
    versions = [registry.add(number) for number in (1, 2, 3, 4)]
    failures: list[BaseException] = []

    def serve() -> None:
        cache = VersionCache(tmp_path / "cache", keep=1)
        cache.prepare()
        loader = Loader(URI, registry, cache, require_manifest=True, allow_schema_change=False)
        try:
            for version in versions * 3:
                loader.load(version, None)
        except BaseException as error:
            failures.append(error)
            raise

    replicas = [threading.Thread(target=serve) for _ in range(4)]
    for replica in replicas:
        replica.start()
    for replica in replicas:
        replica.join()
    assert failures == []
    assert list((tmp_path / "cache" / "incoming").iterdir()) == []


def test_a_full_disk_does_not_cost_a_model_that_is_loaded(empty: Server, monkeypatch):
    version = empty.registry.add(1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(empty.cache, "remember", full)
    assert empty.loader.load(version, None).version.version == "1"


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        VersionCache(tmp_path / "file" / "cache", 3).prepare()


def test_entries_are_readable_json(empty: Server):
    empty.loader.load(empty.registry.add(1), None)
    entry = json.loads((entries(empty)[0] / "entry.json").read_text())
    assert entry["version"]["name"] == "toy"
    assert set(entry["sha256"]) == {"MLmodel", "contract.yaml", "manifest.json", "model.onnx"}
