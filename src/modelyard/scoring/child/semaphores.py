"""Python's semaphores between processes, without a file in /dev/shm.

Locks, queues and pools of `multiprocessing`, pools of threads among them, are made of semaphores
that the C library keeps as files there. A confined process does not get at that folder, which it
would share with everyone. What it forks inherits memory, and a semaphore needs no more.
"""

from __future__ import annotations

import ctypes
import errno
import math
import mmap
import time
from importlib import import_module
from threading import get_ident
from typing import Any

_RECURSIVE = 0
_BYTES = 64  # more than any sem_t
_libc = ctypes.CDLL(None, use_errno=True)


class SharedSemaphore:
    """What `_multiprocessing.SemLock` is, for this process and those that it forks."""

    SEM_VALUE_MAX = 2**31 - 1

    def __init__(self, kind: int, value: int, maxvalue: int, name: str, unlink: bool) -> None:
        if not unlink:
            raise PermissionError(
                errno.EACCES, "a confined process shares semaphores with what it forks only"
            )
        self.kind, self.maxvalue, self.name = kind, maxvalue, name
        self._memory = mmap.mmap(-1, _BYTES)
        self.handle = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._semaphore = ctypes.c_void_p(self.handle)
        if _libc.sem_init(self._semaphore, 1, value) != 0:
            raise OSError(ctypes.get_errno(), "no semaphore can be made")
        self._taken = 0
        self._owner = 0

    @classmethod
    def _rebuild(cls, *_: Any) -> None:
        raise PermissionError(errno.EACCES, "a confined process shares semaphores by forking only")

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take it; False when it is not free, within `timeout` seconds if it may block."""
        if self.kind == _RECURSIVE and self._is_mine():
            self._taken += 1
            return True
        limit_s = math.inf if timeout is None else max(0.0, timeout)
        if not self._wait(limit_s if block else 0.0):
            return False
        self._taken += 1
        self._owner = get_ident()
        return True

    def release(self) -> None:
        """Give it back."""
        if self.kind == _RECURSIVE:
            if not self._is_mine():
                raise AssertionError("attempt to release recursive lock not owned by thread")
            if self._taken > 1:
                self._taken -= 1
                return
        elif self._get_value() >= self.maxvalue:
            raise ValueError("semaphore or lock released too many times")
        _libc.sem_post(self._semaphore)
        self._taken -= 1

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _wait(self, limit_s: float) -> bool:
        """Whether it was taken within that time."""
        if _libc.sem_trywait(self._semaphore) == 0:
            return True
        ends_at = None
        if not math.isinf(limit_s):
            fraction, seconds = math.modf(time.time() + limit_s)
            ends_at = (ctypes.c_long * 2)(int(seconds), int(fraction * 1e9))
        while limit_s:
            if ends_at is None:
                result = _libc.sem_wait(self._semaphore)
            else:
                result = _libc.sem_timedwait(self._semaphore, ends_at)
            if result == 0:
                return True
            if ctypes.get_errno() != errno.EINTR:
                return False
        return False

    def _count(self) -> int:
        return self._taken

    def _is_mine(self) -> bool:
        return self._taken > 0 and self._owner == get_ident()

    def _get_value(self) -> int:
        value = ctypes.c_int()
        _libc.sem_getvalue(self._semaphore, ctypes.byref(value))
        return value.value

    def _is_zero(self) -> bool:
        return self._get_value() == 0

    def _after_fork(self) -> None:
        self._taken = 0


def use_shared_semaphores() -> None:
    """Let `multiprocessing` make these, from now on."""
    vars(import_module("_multiprocessing"))["SemLock"] = SharedSemaphore
