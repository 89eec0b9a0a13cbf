"""Data and code versions without DVC or git at hand, and refusals when they do not agree."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from modelyard.errors import DataError
from modelyard.provenance import (
    CodeVersion,
    DataVersion,
    package_list,
    read_code_version,
    read_data_version,
    run_tags,
)


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
    changed = read_code_version(tmp_path, "")
    assert (changed.dirty, changed.changed) == (True, ("a",))


def test_an_image_without_a_commit_is_known_by_the_content_of_its_code(tmp_path: Path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("x = 1\n")
    code = read_code_version(tmp_path, "")
    assert code.commit == "unknown"
    assert len(code.tree) == 40
    tags = run_tags(code, DataVersion(tmp_path / "t.parquet", "5" * 32, 1), "", seed=7)
    assert (tags["git.dirty"], tags["git.tree"]) == ("unknown", code.tree)


def test_tags_name_what_a_result_depends_on(tmp_path: Path):
    data = DataVersion(tmp_path / "t.parquet", "5" * 32, 1)
    tags = run_tags(
        CodeVersion("abc", dirty=True, tree="f" * 40, changed=("a", "b")),
        data,
        "image@sha256:1",
        seed=7,
    )
    expected = {
        "git.commit": "abc",
        "git.dirty": "true",
        "git.changed": "a\nb",
        "data.md5": "5" * 32,
        "image": "image@sha256:1",
        "seed": "7",
    }
    assert expected.items() <= tags.items()
    assert {"cpu", "cpu.threads", "gpu", "python", "packages.sha256"} <= set(tags)


def test_the_package_list_has_a_line_a_distribution():
    assert any(line.startswith("pydantic==") for line in package_list().splitlines())
