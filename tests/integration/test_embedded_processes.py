"""Children are waited for, their failures shown, and none is left behind."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from modelyard.embedded.processes import ChildProcesses, StartError, require_free_port
from modelyard.errors import ConfigError

# writes its own and its child's number, then both sleep
_FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1] + ".new", "w").write(f"{os.getpid()} {child.pid}")
os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(600)
"""


def _lives(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_leaving_the_block_stops_children_and_their_children(tmp_path: Path):
    numbers = tmp_path / "numbers"
    with ChildProcesses(tmp_path / "logs") as processes:
        command = [sys.executable, "-c", _FAMILY, str(numbers)]
        processes.start("family", command, {}, numbers.exists, 30)
        family = [int(word) for word in numbers.read_text().split()]
        assert all(map(_lives, family))
    assert not any(map(_lives, family))


def test_a_server_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path):
    command = [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]
    with (
        ChildProcesses(tmp_path) as processes,
        pytest.raises(StartError, match=r"exit code 3:\n  the reason") as caught,
    ):
        processes.start("broken", command, {}, lambda: False, 30)
    assert caught.value.fix == f"Its whole log: {tmp_path / 'broken.log'}"


def test_a_server_that_is_never_ready_is_reported_and_stopped(tmp_path: Path):
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with (
        ChildProcesses(tmp_path) as processes,
        pytest.raises(StartError, match="was not ready within"),
    ):
        processes.start("slow", command, {}, lambda: False, 0.3)


def test_a_child_that_ends_later_ends_the_wait(tmp_path: Path):
    with ChildProcesses(tmp_path) as processes:
        command = [sys.executable, "-c", "import time; time.sleep(0.3); raise SystemExit(4)"]
        processes.start("brief", command, {}, lambda: True, 30)
        with pytest.raises(StartError, match="brief ended with exit code 4"):
            processes.wait()


def test_a_step_that_fails_is_reported(tmp_path: Path):
    command = [sys.executable, "-c", "raise SystemExit(5)"]
    with ChildProcesses(tmp_path) as processes, pytest.raises(StartError, match="exit code 5"):
        processes.run("step", command, dict(os.environ), tmp_path)


def test_a_taken_port_names_the_variable_and_the_next_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            require_free_port(port, "MLFLOW_PORT")
    assert f"MLFLOW_PORT={port + 1}" in caught.value.fix
