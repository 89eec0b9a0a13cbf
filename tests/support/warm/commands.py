"""`modelyard` and `dvc` for tests that run them often: see `server`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


SERVER = (sys.executable, str(HERE / "server.py"))


def cold(command: Sequence[str]) -> list[str]:
    """The same `modelyard` command by a process that inherits nothing.

    For tests that measure the process, or that start it in namespaces of their own.
    """
    return [sys.executable, "-m", "modelyard.cli.main", *command[1:]]


@contextmanager
def on_path(folder: Path, server: Sequence[str] = SERVER, **environment: str) -> Iterator[None]:
    """Within the block they are the first on this process' PATH; `folder` is for them alone.

    Its name must be short: it holds a socket.
    """
    text = f"#!{sys.executable} -IS\n{(HERE / 'client.py').read_text()}"
    for name in ("modelyard", "dvc"):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    address = folder / "server"
    before = dict(os.environ)
    process = subprocess.Popen([*server, str(address)], env={**before, **environment})
    try:
        while not address.exists():
            assert process.poll() is None
            time.sleep(0.05)
        venv = str(Path(sys.executable).parent)
        os.environ["PATH"] = os.pathsep.join([str(folder), venv, before["PATH"]])
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        process.kill()
        process.wait()
