"""What is made from the code is what the code says now."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = Path("docs/registry.md")


SOURCES = ("docker-compose.yml", "docker-compose.cpu.yml", ".env.example", str(DOCUMENT))


def generate(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ci.generated", "--root", str(root), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What is made from the code, and the Compose files, in a folder of their own."""
    for name in SOURCES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def replaced(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_what_is_made_from_the_code_is_up_to_date():
    done = generate(ROOT, "--check")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [(str(DOCUMENT), "interrupted by Ctrl-C"), (".env.example", "#GATEWAY_PORT=8000")],
)
def test_what_is_stale_is_named_and_then_replaced_and_the_rest_stays(
    copy: Path, name: str, text: str
):
    replaced(copy / name, text, "old")
    stale = (copy / name).read_text(encoding="utf-8")
    done = generate(copy, "--check")
    assert (done.returncode, done.stderr) == (1, f"stale: {name}; fix: make generated\n")
    assert (copy / name).read_text(encoding="utf-8") == stale
    assert generate(copy).returncode == 0
    assert (copy / name).read_bytes() == (ROOT / name).read_bytes()


def test_a_document_without_its_part_is_an_error(copy: Path):
    (copy / DOCUMENT).write_text("nothing\n")
    done = generate(copy)
    assert done.returncode == 1
    assert "expected one part <!-- exit codes: … -->, found 0" in done.stderr


def test_a_default_that_changes_in_compose_changes_in_the_example(copy: Path):
    replaced(copy / "docker-compose.yml", "${GATEWAY_MAX_QUEUE:-1024}", "${GATEWAY_MAX_QUEUE:-7}")
    assert generate(copy).returncode == 0
    assert "\n#GATEWAY_MAX_QUEUE=7\n" in (copy / ".env.example").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # what our own code reads has its default in the settings alone
        (":-33554432}", ":-1}", "SERVING_MAX_BATCH_BODY_BYTES: 1 in docker-compose.yml, 33554432"),
        ("${GATEWAY_PORT:-8000}", "${GATEWAY_PORT:-80}", "GATEWAY_PORT: 80 in docker-compose.yml"),
        # one default, though two places read it
        ("image: *training-image", "image: ${TRAINING_IMAGE:-x}", "TRAINING_IMAGE: modelyard/"),
        ("# DB_MEMORY: Memory", "# Memory", "DB_MEMORY: expected one explanation"),
        ("# DB_MEMORY: ", "# MLFLOW_PORT: Again.\n    # DB_MEMORY: ", "MLFLOW_PORT: expected one"),
        ("SERVING_DRAIN_S:", "SERVING_DRAINS_S:", "SERVING_DRAINS_S: passed on by docker-compose"),
        ("${DB_MEMORY:-", "${OTHER:-", "DB_MEMORY: explained in docker-compose.yml, which has no"),
    ],
)
def test_sources_that_contradict_each_other_are_an_error(copy: Path, old: str, new: str, said: str):
    replaced(copy / "docker-compose.yml", old, new)
    done = generate(copy)
    assert done.returncode == 1
    assert f"ValueError: {said}" in done.stderr
