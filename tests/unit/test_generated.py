"""What is made from the code is what the code says now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = Path("docs/registry.md")


def generate(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ci.generated", "--root", str(root), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_what_is_made_from_the_code_is_up_to_date():
    done = generate(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def test_a_part_that_is_stale_is_named_and_then_replaced_and_the_rest_stays(tmp_path: Path):
    text = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    stale = text.replace("interrupted by Ctrl-C", "old")
    assert stale != text
    path = tmp_path / DOCUMENT
    path.parent.mkdir()
    path.write_text(stale, encoding="utf-8")
    done = generate(tmp_path, "--check")
    assert (done.returncode, done.stderr) == (1, f"stale: {DOCUMENT}; fix: make generated\n")
    assert path.read_text(encoding="utf-8") == stale
    assert generate(tmp_path).returncode == 0
    assert path.read_text(encoding="utf-8") == text


def test_a_document_without_its_part_is_an_error(tmp_path: Path):
    (tmp_path / DOCUMENT).parent.mkdir()
    (tmp_path / DOCUMENT).write_text("nothing\n")
    done = generate(tmp_path)
    assert done.returncode == 1
    assert "expected one part <!-- exit codes: … -->, found 0" in done.stderr
