"""What runs on the host needs no package, and any Python from 3.8."""

from __future__ import annotations

import subprocess

import pytest

from support.host_python import ROOT, imported_packages, oldest_python

SRC = ROOT / "src"
BELOW = [SRC / f"modelyard/{n}.py" for n in ("errors", "program", "recorded_code", "source_tree")]
MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (SRC / "modelyard/__init__.py", *BELOW, *(SRC / "modelyard/host").rglob("*.py"))
}


@pytest.mark.parametrize("name", MODULES)
def test_it_parses_with_python_3_8_and_imports_the_standard_library_only(name: str):
    assert imported_packages(MODULES[name]) <= MODULES.keys()


def test_the_oldest_python_here_imports_all_of_it():
    lines = "\n".join(f"import {name}" for name in sorted(MODULES))
    done = subprocess.run(
        [oldest_python(), "-S", "-B", "-c", lines],
        env={"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
