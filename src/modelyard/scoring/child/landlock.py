"""Landlock: which files this process, and those that it starts, may use from now on.

A process takes rights from itself and never gets them back; no privilege is needed.
https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from enum import IntFlag
from functools import cache

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every machine
_ASK_VERSION = 1
_PATH_BENEATH = 1
_NEWEST_ABI = 7  # what is newer is used as this one

_ALL_NET = 0b11  # to bind, and to connect, TCP
_ALL_SCOPES = 0b11  # abstract sockets, and signals
_ABI_WITH_NET, _ABI_WITH_SCOPES = 4, 6


class Access(IntFlag):
    """Rights to files and folders, as the kernel numbers them."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15

    READ = READ_FILE | READ_DIR
    RUN = READ_FILE | READ_DIR | EXECUTE
    WRITE = READ_FILE | WRITE_FILE | TRUNCATE
    ALL_BUT_RUN = (1 << 15) - 1 - EXECUTE
    """Whatever a folder is for, but no program is started from it."""


_OF_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE
_HANDLED_BITS = {1: 13, 2: 14, 3: 15, 4: 15}


@cache
def abi() -> int:
    """The version of Landlock that this kernel has; 0 where it has none, or none switched on."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return max(0, min(int(libc.syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)), _NEWEST_ABI))
    except (AttributeError, OSError, TypeError):  # not Linux
        return 0


def restrict(rules: Iterable[tuple[str, Access]], *, network: bool) -> None:
    """Leave this process the files in `rules`, and no others; call it before any thread starts.

    A path that does not exist, or may not be looked up, is left out.

    Args:
        rules: path → what may be done with it, and with all beneath it.
        network: let it bind and connect TCP.

    Raises:
        OSError: the kernel refuses.
    """
    version = abi()
    handled = (1 << _HANDLED_BITS.get(version, 16)) - 1
    attributes = struct.pack("<Q", handled)
    if version >= _ABI_WITH_NET:
        attributes += struct.pack("<Q", 0 if network else _ALL_NET)
    if version >= _ABI_WITH_SCOPES:
        attributes += struct.pack("<Q", _ALL_SCOPES)
    libc = ctypes.CDLL(None, use_errno=True)
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    _check(ruleset)
    try:
        for path, access in rules:
            _allow(libc, ruleset, path, access & handled)
        _check(libc.prctl(38, 1, 0, 0, 0))  # PR_SET_NO_NEW_PRIVS
        _check(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            access &= _OF_FILES
        rule = struct.pack("<Qi", access, beneath)
        _check(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(beneath)


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
