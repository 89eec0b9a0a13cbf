"""A filter of system calls, in the kernel's classic BPF: refused ones fail, all others run.

They fail as they would for lack of a right, so that a library takes its other way. `syscalls.py`
says what is refused and why; https://docs.kernel.org/userspace-api/seccomp_filter.html.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from modelyard.scoring.child import syscalls

_AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP_SYSCALLS = {"x86_64": 317, "aarch64": 277}
_OF_X32 = 0x40000000  # x86-64 has a second set of numbers for the same calls

_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_PR_SET_NO_NEW_PRIVS = 38
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALL_BITS = 0xFFFFFFFF

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM, _SOCK_SEQPACKET, _SOCK_KIND = 1, 5, 0xF
_CLONE_NEW = 0x7E020000  # every flag that makes a namespace
_O_ACCMODE_TRUNC = 0o1003
_NOT_TRUNCATED_UNWRITTEN = (0, 1, 2, 3, 0o1001, 0o1002)
_ABI_WITH_TRUNCATE, _ABI_WITH_SCOPES = 3, 6


@dataclass(frozen=True)
class Condition:
    """One argument of a call, of which `mask` leaves the bits that have to be one of `values`."""

    argument: int
    values: tuple[int, ...]
    mask: int = _ALL_BITS


@dataclass(frozen=True)
class Refusal:
    """A call fails with `error`, unless all of `unless` hold; without any, always."""

    number: int
    error: int = errno.EPERM
    unless: tuple[Condition, ...] = ()


def is_available() -> bool:
    """Whether this kernel takes filters, and the numbers of its calls are known here."""
    machine = platform.machine()
    if machine not in syscalls.MACHINES:
        return False
    action = ctypes.c_uint32(_ERRNO)
    libc = ctypes.CDLL(None, use_errno=True)
    number = _SECCOMP_SYSCALLS[machine]
    return bool(libc.syscall(number, _GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0)


def install(*, network: bool, landlock_abi: int) -> None:
    """Filter every call of this process and of those that it starts, from now on and for good.

    Args:
        network: let it use internet sockets.
        landlock_abi: what Landlock takes care of here; 0 for nothing.

    Raises:
        OSError: the kernel takes no filter.
    """
    machine = platform.machine()
    code = assemble(machine, refusals(machine, os.getpid(), landlock_abi, network=network))
    program = ctypes.create_string_buffer(code, len(code))
    # struct sock_fprog: the number of instructions, and where they are
    head = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs cannot be set")
    if libc.syscall(_SECCOMP_SYSCALLS[machine], _SET_MODE_FILTER, 0, head) != 0:
        raise OSError(ctypes.get_errno(), "the filter of system calls cannot be set")


def refusals(machine: str, pid: int, landlock_abi: int, *, network: bool) -> list[Refusal]:
    """What the process `pid` is refused."""
    always = [syscalls.OTHER_PROCESSES, syscalls.FILE_MODES, syscalls.NAMED_MEMORY, syscalls.KERNEL]
    refused = [
        Refusal(number) for calls in always for number in syscalls.numbers(calls, machine).values()
    ]
    if not network:
        addresses = syscalls.numbers(syscalls.ADDRESSES, machine).values()
        refused += [Refusal(number, errno.EACCES) for number in addresses]
    if landlock_abi < _ABI_WITH_SCOPES:
        signals = syscalls.numbers(syscalls.SIGNALS, machine).values()
        refused += [Refusal(number) for number in signals]
    numbers = syscalls.numbers(syscalls.BY_ARGUMENT, machine)
    conditional = _conditional(pid, landlock_abi, network=network)
    refused += [
        Refusal(numbers[name], error, unless)
        for name, error, unless in conditional
        if name in numbers
    ]
    return refused


def _conditional(
    pid: int, landlock_abi: int, *, network: bool
) -> Iterator[tuple[str, int, tuple[Condition, ...]]]:
    """Name, error and what is still allowed, of the calls that depend on their arguments."""
    internet = (Condition(0, (_AF_INET, _AF_INET6)),) if network else ()
    yield "socket", errno.EACCES, internet
    # a datagram socket could be sent from to any path; pipes of two ends stay
    streams = (_SOCK_STREAM, _SOCK_SEQPACKET)
    pair = (Condition(0, (_AF_UNIX,)), Condition(1, streams, _SOCK_KIND))
    yield "socketpair", errno.EACCES, pair
    yield "clone", errno.EPERM, (Condition(0, (0,), _CLONE_NEW),)
    yield "clone3", errno.ENOSYS, ()  # its flags are out of sight; the C library then uses clone
    own = (Condition(0, (0,)),)  # 0 is the process that calls
    limits = ("prlimit64", "sched_setscheduler", "sched_setparam", "sched_setattr")
    for name in (*limits, "sched_setaffinity"):
        yield name, errno.EPERM, own
    yield "setpriority", errno.EPERM, (Condition(0, (0,)), Condition(1, (0,)))
    yield "ioprio_set", errno.EPERM, (Condition(0, (1,)), Condition(1, (0,)))
    if landlock_abi < _ABI_WITH_SCOPES:
        yield "kill", errno.EPERM, (Condition(0, (0, pid, -pid & _ALL_BITS)),)
        yield "tgkill", errno.EPERM, (Condition(0, (pid,)),)
    if landlock_abi < _ABI_WITH_TRUNCATE:
        yield "truncate", errno.EACCES, ()
        yield "openat2", errno.ENOSYS, ()
        # a file that is opened for reading alone can be emptied by it
        for name, flags in (("open", 1), ("openat", 2)):
            kept = Condition(flags, _NOT_TRUNCATED_UNWRITTEN, _O_ACCMODE_TRUNC)
            yield name, errno.EACCES, (kept,)


def assemble(machine: str, refused: list[Refusal]) -> bytes:
    """The filter's instructions, 8 bytes each."""
    code = [
        _instruction(_LOAD, _ARCHITECTURE_AT),
        _instruction(_EQUAL, _AUDIT_ARCHITECTURES[machine], if_so=1),
        _instruction(_RETURN, _KILL_PROCESS),
        _instruction(_LOAD, _NUMBER_AT),
    ]
    if machine == "x86_64":
        code += [
            _instruction(_AT_LEAST, _OF_X32, if_not=1),
            _instruction(_RETURN, _ERRNO | errno.EPERM),
        ]
    for refusal in refused:
        body = list(_body(refusal))
        code += [_instruction(_EQUAL, refusal.number, if_not=len(body)), *body]
    return b"".join([*code, _instruction(_RETURN, _ALLOW)])


def _body(refusal: Refusal) -> Iterator[bytes]:
    """What happens to a call that has the refusal's number: it always returns."""
    for condition in refusal.unless:
        yield _instruction(_LOAD, _ARGUMENTS_AT + 8 * condition.argument)
        if condition.mask != _ALL_BITS:
            yield _instruction(_AND, condition.mask)
        for left, value in zip(range(len(condition.values), 0, -1), condition.values, strict=True):
            yield _instruction(_EQUAL, value, if_so=left)
        yield _instruction(_RETURN, _ERRNO | refusal.error)
    if refusal.unless:
        yield _instruction(_RETURN, _ALLOW)
    else:
        yield _instruction(_RETURN, _ERRNO | refusal.error)


def _instruction(code: int, value: int, *, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_so, if_not, value)
