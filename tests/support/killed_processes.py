"""Commands that are killed in the middle of their work."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence

from support.servers import ROOT

_PATIENCE_S = 120


def killed_at(line_start: str, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Run `command`, kill -9 it at its first line that begins so; returns what it said."""
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    timer = threading.Timer(_PATIENCE_S, process.kill)
    timer.start()
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith(line_start):
            process.send_signal(signal.SIGKILL)
            break
    said += process.stdout.readlines()
    timer.cancel()
    assert process.wait(10) == -signal.SIGKILL, said
    return said
