"""Data and code versions without DVC or git at hand, and refusals when they do not agree."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from modelyard.errors import DataError
from modelyard.provenance import package_list, read_code_version, read_data_version


def _versioned(folder: Path, content: bytes = b"rows") -> Path:
    path = folder / "t.parquet"
    path.write_bytes(content)
    md5 = hashlib.md5(content).hexdigest()
    (folder / "t.parquet.dvc").write_text(
        f"outs:\n- md5: {md5}\n  size: {len(content)}\n  hash: md5\n  path: t.parquet\n"
    )
    return path


def test_the_version_is_the_md5_of_the_pointer(tmp_path: Path):
    _versioned(tmp_path)
    version = read_data_version(tmp_path, "t.parquet")
    assert (version.md5, version.size_bytes) == (hashlib.md5(b"rows").hexdigest(), 4)


def test_a_file_that_is_not_the_pointers_is_refused(tmp_path: Path):
    _versioned(tmp_path).write_bytes(b"other rows")
    with pytest.raises(DataError, match=r"the file has [0-9a-f]{32}"):
        read_data_version(tmp_path, "t.parquet")


def test_a_missing_file_names_dvc_pull(tmp_path: Path):
    _versioned(tmp_path).unlink()
    with pytest.raises(DataError) as caught:
        read_data_version(tmp_path, "t.parquet")
    assert "dvc pull" in caught.value.fix


@pytest.mark.parametrize("text", ["", "outs: []", "outs:\n- path: x", "deps: [1]", "outs: 3"])
def test_a_pointer_without_one_md5_is_refused(tmp_path: Path, text: str):
    _versioned(tmp_path)
    (tmp_path / "t.parquet.dvc").write_text(text)
    with pytest.raises(DataError, match="exactly one file"):
        read_data_version(tmp_path, "t.parquet")


def test_no_pointer_names_dvc_add(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        read_data_version(tmp_path, "t.parquet")
    assert "dvc add" in caught.value.fix


def test_the_build_argument_beats_git_and_carries_the_dirty_mark(tmp_path: Path):
    assert read_code_version(tmp_path, "abc-dirty").commit == "abc"
    assert read_code_version(tmp_path, "abc-dirty").dirty
    assert not read_code_version(tmp_path, "abc").dirty


def test_a_folder_without_git_is_unknown_not_an_error(tmp_path: Path):
    assert read_code_version(tmp_path, "").commit == "unknown"


def test_a_checkout_tells_its_commit_and_its_local_changes(tmp_path: Path):
    def git(*words: str) -> str:
        settings = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *settings, *words],
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "one")
    clean = read_code_version(tmp_path, "")
    assert (clean.commit, clean.dirty) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "a").write_text("2")
    assert read_code_version(tmp_path, "").dirty


def test_the_package_list_has_a_line_a_distribution():
    assert any(line.startswith("pydantic==") for line in package_list().splitlines())
