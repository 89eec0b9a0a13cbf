"""Versions on disk: what a restart finds, what is damaged, what is kept, who shares it."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from modelyard.errors import (
    ConfigError,
    ModelRefusedError,
    RegistryNotFoundError,
    RegistryUnavailableError,
)
from modelyard.registry.fetch import Verification
from modelyard.serving.following.cache import VersionCache
from modelyard.serving.following.loader import Loader
from modelyard.serving.model.snapshot import Origin
from support.models.folders import FolderRegistry
from support.models.toy import URI, contract_with
from support.serving_app import MakeServer, Server


@pytest.fixture
def empty(make_server: MakeServer) -> Server:
    return make_server()


def entries(server: Server) -> list[Path]:
    return sorted((server.folder / "cache" / "versions").iterdir())


def test_what_was_served_last_needs_no_registry(empty: Server):
    empty.loader.load(empty.registry.add(1), None)
    empty.loader.load(empty.registry.add(2), None)
    empty.registry.reachable = False
    snapshot = empty.loader.load_remembered()
    assert snapshot.version.version == "2"
    assert snapshot.origin.metrics["auc"] == 0.9
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
    server = make_server(cache_versions=2)
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


def test_pruning_leaves_a_download_under_way_alone_whatever_the_clock_says(empty: Server):
    """Another server, whose clock is a day ahead, prunes the cache that both share."""
    version = empty.registry.add(1)
    incoming = empty.folder / "cache" / "incoming"
    deserted = incoming / "deserted"
    deserted.mkdir()

    def fill(folder: Path) -> None:
        empty.registry.download(version, folder)
        for path in incoming.iterdir():
            os.utime(path, (0, 0))
        VersionCache(empty.folder / "cache", keep=3).prune()

    cached = empty.cache.add(version, Origin(), fill)
    assert (cached.files / "model.onnx").exists()
    assert not deserted.exists()
