"""`make test` says which part failed, and which files took longest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from support import suite
from support.suite import Part, of_pytest, slowest_files

FAST = "def test_fast(): pass\n"
SLOW = "import time\nclass TestSlow:\n    def test_slow(self): time.sleep(0.3)\n"
WAITS = """
import pathlib, time, pytest

@pytest.fixture
def room():
    pathlib.Path("up").touch()
    yield
    pathlib.Path("up").unlink()

def test_waits(room): time.sleep(600)
"""
MAIN = """
import pathlib, sys
from support import suite
suite.ROOT, suite.RESULTS = pathlib.Path.cwd(), pathlib.Path.cwd() / "build/test"
suite.CHECK = suite.Part("check", ("true",))
suite.BESIDE = (suite.of_pytest("waits", "test_waits.py"),)
sys.exit(suite.main())
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose parts are three files."""
    monkeypatch.setattr(suite, "ROOT", tmp_path)
    monkeypatch.setattr(suite, "RESULTS", tmp_path / "build/test")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a start takes a fifth of the time
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    for name, text in (("fast", FAST), ("slow", SLOW), ("waits", WAITS)):
        (tmp_path / f"test_{name}.py").write_text(text)
    return tmp_path


def test_a_part_that_fails_is_named_and_the_others_run(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    notice = (sys.executable, "-c", f"print('{suite.NOT_RUN}: no engine'); exit(3)")
    monkeypatch.setattr(suite, "CHECK", Part("check", ("true",)))
    last = of_pytest("fast", "test_fast.py", after=("slow", "bad"))
    beside = (last, of_pytest("slow", "test_slow.py"), Part("bad", notice))
    monkeypatch.setattr(suite, "BESIDE", beside)
    assert suite.main() == 1
    said = capsys.readouterr().out
    *_, failed, last = said.splitlines()
    assert failed.startswith("FAILED: bad;")
    assert last == f"{suite.NOT_RUN}: no engine"
    files = [line.split()[-1] for line in said.partition("slowest files")[2].splitlines()[1:3]]
    assert files == ["test_slow.py", "test_fast.py"]
    slow, fast = (
        next(ET.parse(root / f"build/test/{name}.xml").iter("testsuite"))
        for name in ("slow", "fast")
    )
    waited = datetime.fromisoformat(fast.get("timestamp")) - datetime.fromisoformat(
        slow.get("timestamp")
    )
    assert waited.total_seconds() > float(slow.get("time"))
    assert "1 passed" in (root / "build/test/fast.log").read_text()


def test_a_check_that_fails_ends_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(suite, "CHECK", Part("check", ("false",)))
    assert suite.main() == 1
    assert "FAILED: check" in capsys.readouterr().out


def test_times_of_all_reports_are_summed_by_file(tmp_path: Path):
    case = '<testcase classname="{}" name="t" time="{}"/>'
    for number, cases in enumerate(
        [[("tests.unit.test_a", 1), ("tests.unit.test_a.TestIt", 2)], [("tests.stack.test_b", 4)]]
    ):
        text = "".join(case.format(*one) for one in cases)
        (tmp_path / f"{number}.xml").write_text(f"<testsuites>{text}</testsuites>")
    found = slowest_files(sorted(tmp_path.iterdir()))
    assert found == [("tests/stack/test_b.py", 4.0), ("tests/unit/test_a.py", 3.0)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_ended_cleans_up(root: Path, number: signal.Signals):
    environment = {**os.environ, "PYTHONPATH": str(Path(suite.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, "-c", MAIN], cwd=root, env=environment)
    try:
        while not (root / "up").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)  # to it alone: its parts hear of it through it
        assert process.wait(120) != 0
    finally:
        process.kill()
    assert not (root / "up").exists()
