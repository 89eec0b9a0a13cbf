"""What a model's code reaches, tried from inside a real child, and the same code without a cage."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.scoring.bundle import Bundle, open_bundle
from modelyard.scoring.child.confinement import gaps
from modelyard.scoring.child.opening import ChildOptions
from support.models.code import write_code_version
from support.models.intruder import ATTEMPTS, OWN, write_intruder
from support.models.toy import ROW

pytestmark = [
    pytest.mark.skipif(bool(gaps()), reason=f"this kernel lacks {' and '.join(gaps())}"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the attempts have its numbers"),
]

OPTIONS = ChildOptions(count=1, memory_bytes=0, start_s=120, batch_rows=64, request_s=240)
REACHED_WHEN_FREE = (
    *("read the token", "read the token in a fork", "read the token with a program"),
    *("read the token through a link", "read the token through a path of its own"),
    *("list the cache", "read another version", "read the log", "list all processes"),
    *("list the shared temporary folder", "signal a neighbour", "connect by TCP"),
    *("connect by TCP on IPv6", "connect with a program", "open a UDP socket", "listen"),
    *("connect to a socket's path", "connect to an abstract socket", "watch files"),
    *("leave its session", "start a program of its own"),
)
"""Some of the attempts, harmless ones, that show what the others are worth."""


def ask(bundle: Bundle, note: str) -> float:
    columns = bundle.decoder.columns(bundle.decoder.rows([{**ROW, "note": note}]))
    return float(bundle.runner.predict(columns)[0])


@pytest.fixture(scope="module")
def caught() -> Iterator[list[int]]:
    """Signals that came through to this process."""
    signals: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: signals.append(number))
    yield signals
    signal.signal(signal.SIGUSR1, before)


@contextmanager
def opened(folder: Path, options: ChildOptions) -> Iterator[Bundle]:
    """The model in a child, beside another model's child and everything that it is after."""
    token, log = folder / "token", folder / "log/today.jsonl"
    token.write_text("secret")
    log.parent.mkdir()
    log.write_text("{}\n")
    other, own = folder / "cache/versions/1/files", folder / "cache/versions/2/files"
    write_code_version(other)
    with ExitStack() as held:
        neighbour = held.enter_context(open_bundle(other, options))
        listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = f"modelyard-{os.urandom(8).hex()}"
        for address in (str(folder / "control.sock"), f"\0{abstract}"):
            server = held.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(address)
            server.listen()
        targets = {
            "TOKEN": str(token),
            "CACHE": str(folder / "cache"),
            "OTHER": str(other),
            "LOG": str(log),
            "TEMPORARY": tempfile.gettempdir(),
            "PORT": listener.getsockname()[1],
            "SOCKET": str(folder / "control.sock"),
            "ABSTRACT": abstract,
            "NEIGHBOUR": neighbour.runner._pool._children[0].pid,
        }
        write_intruder(own, targets)
        yield held.enter_context(open_bundle(own, options))
        assert token.read_text() == "secret"
        assert log.read_text() == "{}\n"


@pytest.fixture(scope="module")
def intruder(tmp_path_factory: pytest.TempPathFactory, caught: list[int]) -> Iterator[Bundle]:
    with opened(tmp_path_factory.mktemp("server"), OPTIONS) as bundle:
        yield bundle
        assert caught == []


def test_the_model_says_that_it_is_confined(intruder: Bundle) -> None:
    assert "in a process of its own, confined" in intruder.runner.description


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_a_model_should_not_reach_is_refused_to_it(intruder: Bundle, attempt: str) -> None:
    assert ask(intruder, attempt) == 0.0


@pytest.mark.parametrize("attempt", OWN)
def test_what_a_model_needs_is_left_to_it(intruder: Bundle, attempt: str) -> None:
    assert ask(intruder, attempt) == 1.0


def test_the_attempts_succeed_where_nothing_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path, replace(OPTIONS, isolation="off")) as free:
        reached = {attempt: ask(free, attempt) for attempt in REACHED_WHEN_FREE}
    assert reached == dict.fromkeys(REACHED_WHEN_FREE, 1.0)
    assert "not confined (SERVING_CHILD_ISOLATION=off)" in free.runner.description


def test_addresses_are_in_reach_only_where_a_setting_says_so(tmp_path: Path) -> None:
    with opened(tmp_path, replace(OPTIONS, network=True)) as connected:
        assert ask(connected, "connect by TCP") == 1.0
        assert ask(connected, "open a UDP socket") == 1.0
        for attempt in ("read the token", "connect to a socket's path", "open a netlink socket"):
            assert ask(connected, attempt) == 0.0, attempt


OF_ANOTHER_PROCESS = """
import ctypes, os, sys, time
from pathlib import Path
from modelyard.serving.undumpable import withhold_memory

def become_a_user():
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(10001)
        os.setuid(10001)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as a program is that such a user starts

def reach(what):
    try:
        what()
    except OSError:
        return False
    return True

ready, told = os.pipe()
if (server := os.fork()) == 0:
    become_a_user()
    if sys.argv[1] == "withheld":
        assert withhold_memory()
    assert Path("/proc/self/statm").read_text() and os.listdir("/proc/self/fd")
    os.write(told, b"x")
    time.sleep(600)
become_a_user()
os.read(ready, 1)
of = Path(f"/proc/{server}")
print(*[
    reach(of.joinpath("environ").read_bytes), reach(of.joinpath("mem").open),
    reach(of.joinpath("maps").read_bytes), reach(lambda: os.listdir(of / "fd")),
    ctypes.CDLL(None).ptrace(16, server, 0, 0) == 0,
])
os.kill(server, 9)
"""


@pytest.mark.parametrize(("memory", "is_reached"), [("withheld", False), ("as it is", True)])
def test_a_server_withholds_its_memory_from_its_own_user(memory: str, is_reached: bool) -> None:
    command = [sys.executable, "-c", OF_ANOTHER_PROCESS, memory]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    reached = done.stdout.split()
    assert reached[:4] == [str(is_reached)] * 4
    assert reached[4] == str(is_reached) or is_reached, "some machines let nobody trace"
