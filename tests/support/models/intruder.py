"""A model that tries what it should not reach: a row's note names the attempt, the answer says 1.

An attempt that the system refuses is answered 0; whatever else goes wrong is an error of the model.
What a model may rely on has an attempt too: those begin with `own_`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from modelyard.contract import Contract
from support.models.code import write_code
from support.models.toy import contract_with

CODE = '''
import ctypes, os, resource, shutil, signal, socket, struct, subprocess, sys, tempfile, threading
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)
parent = os.getppid()


def call(number, *arguments):
    """A bare system call; raises OSError like Python's own."""
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def forked(work):
    """Whether `work` succeeds in a process that this one starts."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise OSError("refused")


def run(*words):
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        raise OSError("refused")


def through_thread(work):
    failed = []
    def guarded():
        try:
            work()
        except OSError as error:
            failed.append(error)
    thread = threading.Thread(target=guarded)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def linked(make):
    link = Path(tempfile.mkdtemp()) / "link"
    make(link)
    link.read_text()


def reopened():
    number = os.open(TOKEN, os.O_PATH)
    Path(f"/proc/self/fd/{number}").read_bytes()


def beside():
    folder = os.open(Path(TOKEN).parent, os.O_PATH)
    os.close(os.open(Path(TOKEN).name, os.O_RDONLY, dir_fd=folder))


def vm_read():
    here = ctypes.create_string_buffer(8)
    own = struct.pack("PN", ctypes.addressof(here), 8)
    there = struct.pack("PN", id(libc), 8)
    call(310, parent, own, 1, there, 1, 0)


def datagram(path):
    ours, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.sendto(b"x", path)


def connect(family, address):
    with socket.socket(family) as end:
        end.settimeout(2)
        end.connect(address)


def own_program():
    path = Path(tempfile.mkdtemp()) / "program"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o755)
    with open(descriptor, "wb") as file:
        file.write(Path("/bin/true").read_bytes())
    run(str(path))


def fd_of_parent():
    call(438, os.pidfd_open(parent), 0, 0)


def ticks():
    import mmap
    call(425, 4, ctypes.create_string_buffer(240))


ATTEMPTS = {
    "read the token": lambda: Path(TOKEN).read_text(),
    "read the token in a thread": lambda: through_thread(lambda: Path(TOKEN).read_text()),
    "read the token in a fork": lambda: forked(lambda: Path(TOKEN).read_text()),
    "read the token with a program": lambda: run("cat", TOKEN),
    "read the token through a link": lambda: linked(lambda link: link.symlink_to(TOKEN)),
    "read the token through a hard link": lambda: linked(lambda link: link.hardlink_to(TOKEN)),
    "read the token through a path of its own": reopened,
    "read the token beside a folder": beside,
    "read the token at the parent's root": lambda: Path(f"/proc/{parent}/root{TOKEN}").read_text(),
    "empty the token": lambda: os.truncate(TOKEN, 0),
    "empty the token by reading": lambda: os.open(TOKEN, os.O_RDONLY | os.O_TRUNC),
    "change the token's mode": lambda: os.chmod(TOKEN, 0o644),
    "change the token's owner": lambda: os.chown(TOKEN, os.getuid(), os.getgid()),
    "change the token's time": lambda: os.utime(TOKEN),
    "change the token's attributes": lambda: os.setxattr(TOKEN, "user.a", b"b"),
    "move the token": lambda: os.rename(TOKEN, tempfile.mkdtemp() + "/token"),
    "remove the token": lambda: os.unlink(TOKEN),
    "list the cache": lambda: os.listdir(CACHE),
    "write to the cache": lambda: Path(CACHE, "new").write_text("x"),
    "read another version": lambda: Path(OTHER, "MLmodel").read_bytes(),
    "list another version": lambda: os.listdir(OTHER),
    "change its own version": lambda: Path(OWN, "MLmodel").write_text("x"),
    "add to its own version": lambda: Path(OWN, "new").write_text("x"),
    "close its own version": lambda: os.chmod(OWN, 0),
    "read the log": lambda: Path(LOG).read_bytes(),
    "write to the log": lambda: open(LOG, "a").close(),
    "write to the shared temporary folder": lambda: Path(TEMPORARY, "new").write_text("x"),
    "list the shared temporary folder": lambda: os.listdir(TEMPORARY),
    "read the parent's environment": lambda: Path(f"/proc/{parent}/environ").read_bytes(),
    "read the parent's memory": lambda: open(f"/proc/{parent}/mem", "rb").close(),
    "read the parent's mappings": lambda: Path(f"/proc/{parent}/maps").read_bytes(),
    "list the parent's files": lambda: os.listdir(f"/proc/{parent}/fd"),
    "list all processes": lambda: os.listdir("/proc"),
    "see the network's connections": lambda: Path("/proc/self/net/tcp").read_bytes(),
    "trace the parent": lambda: call(101, 16, parent, 0, 0),
    "read the parent's memory by call": vm_read,
    "take a file from the parent": fd_of_parent,
    "signal the parent": lambda: os.kill(parent, signal.SIGUSR1),
    "signal the parent's group": lambda: os.killpg(os.getpgid(parent), signal.SIGUSR1),
    "signal the parent by its pidfd": lambda: signal.pidfd_send_signal(
        os.pidfd_open(parent), signal.SIGUSR1),
    "queue a signal for the parent": lambda: call(
        129, parent, signal.SIGUSR1.value,
        struct.pack("iii", signal.SIGUSR1, 0, -1) + bytes(116)),
    "limit the parent": lambda: resource.prlimit(parent, resource.RLIMIT_CPU, (10**6, 10**6)),
    "slow the parent": lambda: os.setpriority(os.PRIO_PROCESS, parent, 5),
    "slow all of the user": lambda: os.setpriority(os.PRIO_USER, os.getuid(), 1),
    "pin the parent": lambda: os.sched_setaffinity(parent, os.sched_getaffinity(0)),
    "starve the parent": lambda: os.sched_setscheduler(parent, os.SCHED_BATCH, os.sched_param(0)),
    "leave its session": lambda: forked(os.setsid),
    "leave its group": lambda: forked(lambda: os.setpgid(0, 0)),
    "connect by TCP": lambda: connect(socket.AF_INET, ("127.0.0.1", PORT)),
    "connect by TCP on IPv6": lambda: connect(socket.AF_INET6, ("::ffff:127.0.0.1", PORT)),
    "connect in a fork": lambda: forked(lambda: connect(socket.AF_INET, ("127.0.0.1", PORT))),
    "connect with a program": lambda: run(
        "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{PORT}"),
    "listen": lambda: socket.create_server(("127.0.0.1", 0)).close(),
    "open a UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
    "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "open a raw socket": lambda: socket.socket(
        socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close(),
    "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "open a vsock": lambda: socket.socket(socket.AF_VSOCK).close(),
    "connect to a socket's path": lambda: connect(socket.AF_UNIX, SOCKET),
    "send to a socket's path": lambda: datagram(SOCKET),
    "connect to an abstract socket": lambda: connect(socket.AF_UNIX, "\\0" + ABSTRACT),
    "watch files": lambda: os.close(check(libc.inotify_init())),
    "share memory by name": lambda: Path("/dev/shm/modelyard-intruder").write_text("x"),
    "share memory by System V": lambda: call(29, 4711, 4096, 0o1600),
    "queue messages": lambda: call(240, b"intruder", 0o102, 0o600, None),
    "use io_uring": ticks,
    "use userfaultfd": lambda: call(323, 1),
    "use bpf": lambda: call(321, 0, bytes(128), 128),
    "use perf": lambda: call(298, struct.pack("II", 1, 120) + bytes(112), 0, -1, -1, 0),
    "use the keyring": lambda: call(250, 0, -3, 1),
    "make a namespace": lambda: forked(lambda: call(272, 0x10000000)),
    "fork into a namespace": lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0) or os._exit(0),
    "mount": lambda: call(165, b"none", tempfile.mkdtemp().encode(), b"tmpfs", 0, None),
    "call by the numbers of x32": lambda: call(0x40000000 + 39),
    "start a program of its own": own_program,
    "trace a neighbour": lambda: call(101, 16, NEIGHBOUR, 0, 0),
    "read a neighbour's environment": lambda: Path(f"/proc/{NEIGHBOUR}/environ").read_bytes(),
    "list a neighbour's files": lambda: os.listdir(f"/proc/{NEIGHBOUR}/fd"),
    "limit a neighbour": lambda: resource.prlimit(
        NEIGHBOUR, resource.RLIMIT_CPU, (10**6, 10**6)),
    "read a neighbour's memory": lambda: open(f"/proc/{NEIGHBOUR}/mem", "rb").close(),
    "signal a neighbour": lambda: os.kill(NEIGHBOUR, 0),
}


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def own_copies():
    folder = Path(tempfile.mkdtemp())
    shutil.copy2(Path(OWN, "MLmodel"), folder / "MLmodel")
    shutil.copytree(OWN, folder / "all")
    (folder / "all").rename(folder / "moved")
    shutil.rmtree(folder)


def own_processes():
    import multiprocessing
    theirs, ours = multiprocessing.Pipe()
    process = multiprocessing.Process(target=theirs.send, args=(42,))
    process.start()
    assert ours.recv() == 42
    process.join()
    assert process.exitcode == 0
    stopped = multiprocessing.Process(target=__import__("time").sleep, args=(600,))
    stopped.start()
    stopped.terminate()
    stopped.join()


def own_pools():
    from concurrent.futures import ThreadPoolExecutor
    from multiprocessing.pool import ThreadPool
    with ThreadPoolExecutor(4) as pool, ThreadPool(4) as other:
        assert list(pool.map(abs, [-1])) == other.map(abs, [-1]) == [1]
    import joblib
    doubled = joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(n) for n in (-1, -2))
    assert doubled == [1, 2]


def own_process_pool():
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    with multiprocessing.Pool(2) as pool:
        assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
    lock, queue = multiprocessing.RLock(), multiprocessing.Queue()
    with lock, lock:
        assert not forked_takes(lock)
    assert forked_takes(lock)
    queue.put(1)
    assert queue.get(timeout=20) == 1
    event, condition = multiprocessing.Event(), multiprocessing.Condition()
    assert not event.wait(0.01)
    event.set()
    assert event.wait(20)


def forked_takes(lock):
    import multiprocessing
    process = multiprocessing.Process(target=lambda: sys.exit(not lock.acquire(timeout=0.1)))
    process.start()
    process.join()
    return process.exitcode == 0


def own_loop():
    import asyncio
    assert asyncio.run(asyncio.sleep(0, 7)) == 7


OWN_ATTEMPTS = {
    "own_files": lambda: Path(OWN, "MLmodel").read_bytes(),
    "own_folder": lambda: Path(tempfile.mkdtemp(), "new").write_text("x"),
    "own_copies": own_copies,
    "own_processes": own_processes,
    "own_pools": own_pools,
    "own_process_pool": own_process_pool,
    "own_loop": own_loop,
    "own_memory": lambda: os.write(os.memfd_create("memory"), b"x"),
    "own_programs": lambda: run(sys.executable, "-c", "import ssl, sqlite3, decimal"),
    "own_shell": lambda: run("sh", "-c", "echo a >/dev/null && test $(echo b | cat) = b"),
    "own_signals": lambda: os.kill(os.getpid(), 0),
    "own_priority": lambda: os.nice(0),
    "own_affinity": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "own_limits": lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    "own_name": lambda: __import__("pwd").getpwuid(0),
    "own_randomness": lambda: Path("/dev/urandom").open("rb").read(8),
}


class Model:
    def predict(self, frame):
        return [self.attempt(note) for note in frame["note"]]

    def attempt(self, note):
        if note in OWN_ATTEMPTS:
            OWN_ATTEMPTS[note]()
            return 1.0
        if note == "hi":
            return 0.0
        try:
            ATTEMPTS[note]()
        except OSError:
            return 0.0
        return 1.0
'''
_CONTRACT = contract_with(inference_timeout_s=60.0)
ATTEMPTS = re.findall(r'(?m)^    "((?!own_)[^"]+)": ', CODE)
OWN = re.findall(r'(?m)^    "(own_[^"]+)": ', CODE)


def write_intruder(folder: Path, targets: Mapping[str, str | int]) -> None:
    """The files of the model in `folder`; `targets` are the names that its code uses."""
    known = "\n".join(f"{name} = {json.dumps(value)}" for name, value in targets.items())
    code = f"{known}\nOWN = {json.dumps(str(folder))}\n{CODE}"
    write_code(folder, code, Contract.model_validate(dict(_CONTRACT)))
