"""A process' memory is for nobody of the same user: not to be read, traced or dumped.

A model's process runs as the server's user. Where the kernel cannot confine it, that still keeps
the server's token, its connections and the requests of others from it.
"""

from __future__ import annotations

import ctypes

_PR_SET_DUMPABLE = 4


def withhold_memory() -> bool:
    """Close /proc/PID/{mem,environ,fd,maps,…} and ptrace to the user; whether the system can."""
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
    except (AttributeError, OSError, TypeError):  # not Linux
        return False
