"""How this process's memory comes from the system, and when it goes back: glibc's malloc, set.

Left alone, malloc gives each thread an arena of its own, and every swap leaves a few KiB behind in
one of them; and it returns each large array to the system when it is freed, so that the next
request for 100,000 rows gets its memory page by page again, which takes a quarter of its time.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of mallopt(3)
_KEPT_BYTES = 64 * 2**20
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # glibc takes no more


def configure_allocator() -> bool:
    """Use one arena, and keep up to 64 MiB of freed memory; before any thread is started.

    Returns:
        Whether there is a malloc that takes these settings: elsewhere than on Linux with glibc,
        nothing is changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    settings = (
        (_ARENA_MAX, 1),
        (_TRIM_THRESHOLD, _KEPT_BYTES),
        (_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD),
    )
    return all([mallopt(name, value) for name, value in settings])  # noqa: C419 - set each
