"""A command of the warm server is a process like any other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.warm import commands, server

PROGRAM = """
import os, pathlib, sys, time
import told
print(sys.argv[1:], os.environ["WORD"], pathlib.Path.cwd().name, told.WORD, os.getpid())
if "wait" in sys.argv:
    sys.stdout.flush()
    time.sleep(600)
print("last", file=sys.stderr)
sys.exit({"code": 7, "sentence": "a sentence"}.get(sys.argv[-1]))
"""


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of clients whose `modelyard` is the program above; no library is imported for them."""
    folder = tmp_path_factory.mktemp("w")
    package = folder / "path/modelyard/cli"
    package.mkdir(parents=True)
    for part in (package, package.parent):
        (part / "__init__.py").touch()
    (package / "main.py").write_text(PROGRAM)
    (folder / "path/told.py").write_text("WORD = 'imported'\n")
    code = "import sys; from support.warm import server; server.LIBRARIES = []; "
    code += "server.serve(sys.argv[1])"
    tests = Path(server.__file__).parents[2]
    with commands.on_path(folder, [sys.executable, "-c", code], PYTHONPATH=str(tests)):
        yield {**os.environ, "PYTHONPATH": str(folder / "path"), "WORD": "set"}


@pytest.mark.parametrize(("last", "code", "said"), [
    ("well", 0, "last\n"), ("code", 7, "last\n"), ("sentence", 1, "last\na sentence\n"),
])  # fmt: skip
def test_it_has_the_clients_arguments_environment_folder_and_its_own_end(
    environment: dict[str, str], tmp_path: Path, last: str, code: int, said: str
):
    done = subprocess.run(
        ["modelyard", "a", last], cwd=tmp_path, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (code, said)
    assert done.stdout.startswith(f"['a', '{last}'] set {tmp_path.name} imported ")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_ends_it(environment: dict[str, str], number: signal.Signals):
    client = subprocess.Popen(
        ["modelyard", "wait"], env=environment, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    command = int(client.stdout.readline().split()[-1])
    assert command != client.pid
    client.send_signal(number)
    assert client.wait(60) in {-number, 1}  # KeyboardInterrupt is an error of the program
    assert client.stdout.read() == ""  # which ends when the command does
