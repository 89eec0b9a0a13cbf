"""The filter of system calls, as a small machine of the test's own reads it."""

from __future__ import annotations

import errno
import struct

import pytest

from modelyard.scoring.child import syscalls
from modelyard.scoring.child.seccomp import assemble, refusals

PID = 4321
ALLOWED, KILLED = 0x7FFF0000, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
READ = {"x86_64": 0, "aarch64": 63}
NEW_USER = 0x10000000


def run(code: bytes, call: bytes) -> int:
    """What the program decides about `call`, a struct seccomp_data."""
    instructions = list(struct.iter_unpack("<HBBI", code))
    at, accumulator = 0, 0
    while True:
        operation, if_so, if_not, value = instructions[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = struct.unpack_from("<I", call, value)[0]
            case 0x54:
                accumulator &= value
            case 0x15:
                at += if_so if accumulator == value else if_not
            case 0x35:
                at += if_so if accumulator >= value else if_not
            case 0x06:
                return value


class Kernel:
    """A filter as `machine` has it, with that version of Landlock."""

    def __init__(self, machine: str, landlock_abi: int = 7, *, network: bool = False) -> None:
        self.machine = machine
        found = refusals(machine, PID, landlock_abi, network=network)
        self.code = assemble(machine, found)

    def decide(self, number: int, *arguments: int, architecture: int | None = None) -> int:
        six = [*(a & (2**64 - 1) for a in arguments), *[0] * (6 - len(arguments))]
        known = ARCHITECTURES[self.machine] if architecture is None else architecture
        return run(self.code, struct.pack("<IIQ6Q", number, known, 0, *six))

    def error(self, name: str, *arguments: int) -> int:
        """The error of the call `name`; 0 when it is let through."""
        groups = (
            *(syscalls.ADDRESSES, syscalls.OTHER_PROCESSES, syscalls.FILE_MODES),
            *(syscalls.NAMED_MEMORY, syscalls.KERNEL, syscalls.SIGNALS, syscalls.BY_ARGUMENT),
        )
        calls = {name: number for group in groups for name, number in group.items()}
        decision = self.decide(calls[name][syscalls.MACHINES.index(self.machine)], *arguments)
        return 0 if decision == ALLOWED else decision - 0x00050000


@pytest.fixture(params=syscalls.MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


def test_no_number_is_there_twice(machine: str) -> None:
    found = [refusal.number for refusal in refusals(machine, PID, 0, network=False)]
    assert len(found) == len(set(found))


def test_an_ordinary_call_runs_and_one_of_another_architecture_ends_the_process(
    machine: str,
) -> None:
    kernel = Kernel(machine)
    assert kernel.decide(READ[machine]) == ALLOWED
    assert kernel.decide(READ[machine], architecture=0x40000003) == KILLED


def test_the_second_numbering_of_x86_is_no_way_around() -> None:
    number = 0x40000000 + syscalls.OTHER_PROCESSES["ptrace"][0]
    assert Kernel("x86_64").decide(number) == 0x00050000 + errno.EPERM


@pytest.mark.parametrize("name", ["ptrace", "setsid", "fchmodat", "io_uring_setup", "shmget"])
def test_what_is_refused_is_refused_whatever_its_arguments(machine: str, name: str) -> None:
    for arguments in ((), (0, 0), (1, 2, 3, 4, 5, 6), (PID,)):
        assert Kernel(machine).error(name, *arguments) == errno.EPERM


def test_without_network_no_socket_is_made_but_pairs_of_streams(machine: str) -> None:
    kernel = Kernel(machine)
    for family in (1, 2, 10, 16, 17, 40):
        assert kernel.error("socket", family, 1, 0) == errno.EACCES
    assert kernel.error("connect", 3, 0, 0) == errno.EACCES
    assert kernel.error("socketpair", 1, 1 | 0o2000000, 0) == 0, "close-on-exec is no kind"
    assert kernel.error("socketpair", 1, 5, 0) == 0
    assert kernel.error("socketpair", 1, 2, 0) == errno.EACCES, "a datagram socket has no one peer"
    assert kernel.error("socketpair", 2, 1, 0) == errno.EACCES


def test_with_network_internet_sockets_alone_are_made(machine: str) -> None:
    kernel = Kernel(machine, network=True)
    assert [kernel.error("socket", family, 1, 0) for family in (2, 10)] == [0, 0]
    assert {kernel.error("socket", family, 1, 0) for family in (1, 16, 17, 40)} == {errno.EACCES}
    assert kernel.error("connect", 3, 0, 0) == 0


def test_threads_and_forks_run_and_namespaces_are_not_made(machine: str) -> None:
    kernel = Kernel(machine)
    assert kernel.error("clone", 17) == 0
    assert kernel.error("clone", 0x3D0F00) == 0, "a thread of the C library"
    assert kernel.error("clone", NEW_USER | 17) == errno.EPERM
    assert kernel.error("clone3", 0, 0) == errno.ENOSYS


def test_a_process_changes_its_own_limits_and_priority_and_no_others(machine: str) -> None:
    kernel = Kernel(machine)
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler"):
        assert kernel.error(name, 0, 7) == 0
        assert kernel.error(name, 1, 7) == errno.EPERM
    assert kernel.error("setpriority", 0, 0, 10) == 0
    assert kernel.error("setpriority", 0, 1, 10) == errno.EPERM
    assert kernel.error("setpriority", 2, 0, 10) == errno.EPERM, "all of the user"


def test_where_landlock_does_not_know_signals_only_its_own_are_let_through(machine: str) -> None:
    old, new = Kernel(machine, landlock_abi=5), Kernel(machine, landlock_abi=6)
    for target in (0, PID, -PID):
        assert old.error("kill", target, 9) == 0
    for target in (1, -1, PID + 1, -PID - 1):
        assert old.error("kill", target, 9) == errno.EPERM
        assert new.error("kill", target, 9) == 0, "Landlock decides"
    assert old.error("pidfd_send_signal", 3, 9) == errno.EPERM


def test_where_landlock_does_not_know_truncation_nothing_is_emptied_unseen(machine: str) -> None:
    old, new = Kernel(machine, landlock_abi=2), Kernel(machine, landlock_abi=3)
    assert old.error("truncate", 1, 0) == errno.EACCES
    assert old.error("openat2", 0) == errno.ENOSYS
    assert old.error("openat", -100, 1, 0o1000) == errno.EACCES, "read only, and emptied"
    for flags in (0, 1, 2, 0o100, 0o1001, 0o1002 | 0o2000000):
        assert old.error("openat", -100, 1, flags) == 0
    assert new.error("truncate", 1, 0) == new.error("openat", -100, 1, 0o1000) == 0
