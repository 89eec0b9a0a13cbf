"""CIS Docker Benchmark, section 5 (container runtime), over every container of the running stack.

Each check asks `docker inspect`. Those in `HOSTS_OWN` are about the machine and who works on it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.compose_files import LONG_RUNNING
from support.stack_driver import FIGURES, RUNNING, Stack, run

Container = dict[str, Any]
PUBLISHED = {"gateway": {"8000/tcp"}, "mlflow": {"5000/tcp"}}
SENSITIVE = ("/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr", "/var/run", "/run")
ENGINES_SHARES = (0, 1024)  # nobody chose
# burns one processor from one moment to another; prints what it got, -1 when it came too late
BURN = """
import os, sys, time
begin, end = map(float, sys.argv[1:])
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
late = time.time() > begin
time.sleep(max(0, begin - time.time()))
before = time.process_time()
while time.time() < end:
    pass
print(-1 if late else time.process_time() - before)
"""
BURN_S = 4

HOSTS_OWN = {
    "5.1": "swarm mode: a state of the engine, which the stack neither needs nor changes",
    "5.23": "docker exec --privileged: what an operator types; CIS asks the host's audit log",
    "5.24": "docker exec --user=root: the same",
}


def service(container: Container) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def options(container: Container) -> list[str]:
    return container["HostConfig"]["SecurityOpt"] or []


def sources(container: Container) -> list[str]:
    return [mount["Source"] for mount in container["Mounts"] if mount["Type"] == "bind"]


def ports(container: Container) -> dict[str, list[dict[str, str]]]:
    found = container["NetworkSettings"]["Ports"] or {}
    return {port: bound for port, bound in found.items() if bound}


def host(key: str, *values: Any) -> Callable[[Container], bool]:
    """Whether a key of HostConfig has one of these values."""
    return lambda container: container["HostConfig"].get(key) in values


def confined(kind: str, profile: str) -> Callable[[Container], bool]:
    """Whether the engine's own confinement is on wherever the kernel has it."""

    def check(container: Container) -> bool:
        engine = run("docker", "info", "--format", "{{json .SecurityOptions}}").stdout
        switched_off = [o for o in options(container) if re.search(rf"{kind}|label.disable", o)]
        return not switched_off and (kind not in engine or bool(container[profile]))

    return check


def has_no_shell_server(container: Container) -> bool:
    said = run("docker", "top", container["Id"], "-eo", "pid,comm").stdout
    return "sshd" not in said and "dropbear" not in said


CHECKS: dict[str, tuple[str, Callable[[Container], bool]]] = {
    "5.2": ("AppArmor profile", confined("apparmor", "AppArmorProfile")),
    "5.3": ("SELinux options", confined("selinux", "ProcessLabel")),
    "5.4": (
        "capabilities",
        lambda c: c["HostConfig"]["CapDrop"] == ["ALL"] and not c["HostConfig"]["CapAdd"],
    ),
    "5.5": ("not privileged", lambda c: not c["HostConfig"]["Privileged"]),
    "5.6": ("no sensitive folder", lambda c: not set(sources(c)) & set(SENSITIVE)),
    "5.7": ("no ssh", has_no_shell_server),
    "5.8": (
        "no privileged port",
        lambda c: all(int(b["HostPort"]) >= 1024 for bound in ports(c).values() for b in bound),
    ),
    "5.9": ("needed ports only", lambda c: ports(c).keys() == PUBLISHED.get(service(c), set())),
    "5.10": ("own network", lambda c: c["HostConfig"]["NetworkMode"] != "host"),
    "5.11": ("memory limit", lambda c: c["HostConfig"]["Memory"] > 0),
    "5.12": ("processor share", lambda c: c["HostConfig"]["CpuShares"] not in ENGINES_SHARES),
    "5.13": ("read-only root", lambda c: c["HostConfig"]["ReadonlyRootfs"]),
    "5.14": (
        "one interface",
        lambda c: all(b["HostIp"] == "127.0.0.1" for bound in ports(c).values() for b in bound),
    ),
    # CIS wants on-failure:5. A server that requests may kill has to come back each time, and after
    # the engine's own restart; the engine waits longer before each attempt, so it never spins.
    "5.15": (
        "restart policy",
        lambda c: c["HostConfig"]["RestartPolicy"]["Name"]
        == ("unless-stopped" if service(c) in LONG_RUNNING else "no"),
    ),
    "5.16": ("own processes", host("PidMode", "")),
    "5.17": ("own IPC", host("IpcMode", "private")),
    "5.18": ("no device", lambda c: not c["HostConfig"]["Devices"]),
    "5.19": ("engine's ulimits", lambda c: not c["HostConfig"]["Ulimits"]),
    "5.20": (
        "mounts not shared",
        lambda c: all("shared" not in mount["Propagation"] for mount in c["Mounts"]),
    ),
    "5.21": ("own host name", host("UTSMode", "")),
    "5.22": ("seccomp", lambda c: "seccomp=unconfined" not in options(c)),
    "5.25": ("engine's cgroup", host("CgroupParent", "")),
    "5.26": ("no new privileges", lambda c: "no-new-privileges:true" in options(c)),
    "5.27": (
        "health check",
        lambda c: service(c) not in LONG_RUNNING or c["State"]["Health"]["Status"] == "healthy",
    ),
    "5.28": ("image version", lambda c: re.search(r":(?!latest$)[\w.-]+$", c["Config"]["Image"])),
    "5.29": ("process limit", lambda c: 0 < c["HostConfig"]["PidsLimit"] <= 1024),
    "5.30": ("not docker0", lambda c: "bridge" not in c["NetworkSettings"]["Networks"]),
    "5.31": ("user namespace", host("UsernsMode", "")),
    "5.32": ("no engine socket", lambda c: not [s for s in sources(c) if "docker.sock" in s]),
}  # fmt: skip


def test_the_list_is_the_whole_section() -> None:
    assert CHECKS.keys() | HOSTS_OWN.keys() == {f"5.{number}" for number in range(1, 33)}


def test_every_container_passes_every_check_that_is_not_the_hosts_own(trained: Stack) -> None:
    containers = trained.containers()
    running = {service(c) for c in containers if c["State"]["Running"]}
    assert running >= set(RUNNING)
    failed = [
        f"{service(container)}: {number} {title}"
        for container in containers
        for number, (title, passes) in CHECKS.items()
        if not passes(container)
    ]
    assert failed == []
    for container in containers:
        user = container["Config"]["User"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), service(container)
    FIGURES.append(
        f"CIS Docker 5: {len(CHECKS)} checks pass on {len(containers)} containers; "
        f"{len(HOSTS_OWN)} are the host's own"
    )


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"Privileged": True}, "5.5"),
        ({"CapAdd": ["NET_ADMIN"]}, "5.4"),
        ({"Memory": 0}, "5.11"),
        ({"CpuShares": 0}, "5.12"),
        ({"ReadonlyRootfs": False}, "5.13"),
        ({"PidMode": "host"}, "5.16"),
        ({"SecurityOpt": ["seccomp=unconfined"]}, "5.22"),
        ({"SecurityOpt": ["seccomp=unconfined"]}, "5.26"),
        ({"PidsLimit": -1}, "5.29"),
    ],
    ids=str,
)
def test_a_check_notices_what_it_is_for(
    trained: Stack, change: dict[str, Any], number: str
) -> None:
    (container,) = trained.containers("db")
    assert CHECKS[number][1](container)
    container["HostConfig"].update(change)
    assert not CHECKS[number][1](container)


def test_a_busy_training_leaves_serving_its_share(trained: Stack) -> None:
    """Both burn the same processor at the same time."""
    run_training = ("--profile", "train", "run", "--rm", "--no-deps", "-T", "--entrypoint")
    commands = {
        "serving": ("exec", "-T", "serving", "python", "-c", BURN),
        "training": (*run_training, "python", "training", "-c", BURN),
    }

    def burn(name: str, begin: float) -> float:
        words = (*commands[name], str(begin), str(begin + BURN_S))
        return float(trained.compose(*words).stdout.splitlines()[-1])

    for lead_s in (5, 20, 60, 200):  # until both have started
        begin = time.time() + lead_s
        with ThreadPoolExecutor(2) as pool:
            serving, training = pool.map(burn, ("serving", "training"), (begin, begin))
        if min(serving, training) >= 0:
            break
    assert serving > 4 * training, "16 times the weight"
    FIGURES.append(f"of one processor serving got {serving / (serving + training):.0%}")
