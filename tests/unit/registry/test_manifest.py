"""The manifest: no file of a version can be changed, added or removed unseen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelyard.errors import ModelRefusedError
from modelyard.registry import read_manifest, verify_files, write_manifest
from modelyard.registry.manifest import sha256_of


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "version"
    (folder / "data").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "data" / "weights").write_bytes(b"weights")
    return folder


def test_files_that_did_not_change_are_verified(files: Path):
    digest = write_manifest(files)
    manifest = read_manifest(files, digest)
    assert set(manifest) == {"model.onnx", "data/weights"}
    verify_files(files, manifest)
    assert write_manifest(files) == digest == sha256_of(files / "manifest.json")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.onnx", b"other", "model.onnx was changed after registration"),
        ("data/weights", None, "data/weights is in manifest.json and not among"),
        ("extra.py", b"import os", "extra.py is among the version's files and not in"),
        ("data/manifest.json", b"{}", "data/manifest.json is among the version's files"),
    ],
)
def test_a_changed_removed_or_added_file_is_refused(files: Path, name, content, message):
    digest = write_manifest(files)
    if content is None:
        (files / name).unlink()
    else:
        (files / name).write_bytes(content)
    with pytest.raises(ModelRefusedError, match=message):
        verify_files(files, read_manifest(files, digest))


def test_a_manifest_written_anew_is_not_the_registered_one(files: Path):
    digest = write_manifest(files)
    (files / "model.onnx").write_bytes(b"other")
    write_manifest(files)
    with pytest.raises(ModelRefusedError, match="is not the registered one"):
        read_manifest(files, digest)
    assert read_manifest(files, None)


def test_a_missing_manifest_matters_when_one_was_registered(files: Path):
    assert read_manifest(files, None) is None
    with pytest.raises(ModelRefusedError, match="not in the artifact store"):
        read_manifest(files, "0" * 64)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"format": 2, "sha256": {}}',
        b'{"format": 1}',
        b'{"format": 1, "sha256": []}',
        json.dumps({"format": 1, "sha256": {"a": 1}}).encode(),
    ],
)
def test_what_is_no_manifest_is_refused(files: Path, content):
    (files / "manifest.json").write_bytes(content)
    with pytest.raises(ModelRefusedError, match="is not a manifest of format 1"):
        read_manifest(files, None)
