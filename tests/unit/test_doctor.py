"""`make doctor`: what it says about machines that cannot run the stack."""

from __future__ import annotations

import ast
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard import doctor
from modelyard.doctor import Facts, Finding

GOOD = Facts(
    docker_cli=True,
    engine="28.5.2",
    compose="2.40.3",
    port_holders={"GATEWAY_PORT": (8000, ""), "MLFLOW_PORT": (5000, doctor.OWN_STACK)},
    free_disk_bytes=100 * 2**30,
    memory_bytes=16 * 2**30,
    gpu_driver="580.65.06",
    engine_knows_nvidia=True,
)


def failing(facts: Facts) -> list[Finding]:
    return [finding for finding in doctor.judge(facts) if not finding.ok]


def test_a_good_machine_has_nothing_to_mend() -> None:
    assert failing(GOOD) == []


@pytest.mark.parametrize(
    ("facts", "check", "found", "fix"),
    [
        (replace(GOOD, docker_cli=False, engine=None), "engine", "no `docker`", "install Docker"),
        (replace(GOOD, engine=None, engine_error="Cannot connect"), "engine", "Cannot", "start it"),
        (
            replace(GOOD, engine=None, engine_error="Permission denied on the socket"),
            "engine",
            "Permission denied",
            "usermod -aG docker",
        ),
        (replace(GOOD, engine="23.0.6"), "engine", "23.0.6", "update Docker"),
        (replace(GOOD, compose="2.23.3"), "compose", "2.23.3", "update the Compose plugin"),
        (replace(GOOD, compose=None), "compose", "none", "update the Compose plugin"),
        (
            replace(GOOD, port_holders={"MLFLOW_PORT": (5000, "container other")}),
            "port 5000",
            "container other",
            "MLFLOW_PORT=",
        ),
        (replace(GOOD, free_disk_bytes=2**30), "disk", "1.0 GiB", "prune"),
        (replace(GOOD, unreadable=["configs/gateway"]), "configs", "configs/gateway", "chmod"),
    ],
)
def test_what_is_needed_fails_with_found_and_fix(
    facts: Facts, check: str, found: str, fix: str
) -> None:
    (finding,) = failing(facts)
    assert finding.needed
    assert finding.check == check
    assert found in finding.found
    assert fix in finding.fix
    for word in ("FAIL", finding.expected, "found", "fix"):
        assert word in doctor.render(finding)


@pytest.mark.parametrize(
    ("facts", "check"),
    [
        (replace(GOOD, gpu_driver=None), "gpu"),
        (replace(GOOD, gpu_driver="570.1"), "gpu"),
        (replace(GOOD, engine_knows_nvidia=False), "gpu"),
        (replace(GOOD, memory_bytes=2 * 2**30), "memory"),
        (replace(GOOD, free_disk_bytes=5 * 2**30), "disk"),
    ],
)
def test_what_only_limits_is_a_note(facts: Facts, check: str) -> None:
    (finding,) = failing(facts)
    assert finding.check == check
    assert not finding.needed
    assert doctor.render(finding).startswith("note")


def test_without_a_gpu_training_gets_the_cpu_overlay() -> None:
    cpu = replace(GOOD, gpu_driver=None)
    both = os.pathsep.join(["docker-compose.yml", "docker-compose.cpu.yml"])
    assert doctor.choose_compose_file(cpu, "", has_override=False) == both
    assert doctor.choose_compose_file(GOOD, "", has_override=False) == "docker-compose.yml"


def test_the_users_own_compose_files_stay() -> None:
    cpu = replace(GOOD, gpu_driver=None)
    chosen = os.pathsep.join(["docker-compose.yml", "mine.yml"])
    found = doctor.choose_compose_file(cpu, chosen, has_override=False).split(os.pathsep)
    assert found == ["docker-compose.yml", "docker-compose.cpu.yml", "mine.yml"]
    again = os.pathsep.join(found)
    assert doctor.choose_compose_file(cpu, again, has_override=False) == again
    with_override = doctor.choose_compose_file(cpu, "", has_override=True).split(os.pathsep)
    assert with_override[-1] == "docker-compose.override.yml"


def test_ports_come_from_dotenv_and_a_busy_one_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no docker, no nvidia-smi
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        (tmp_path / ".env").write_text(f"# ports\nGATEWAY_PORT={port}\nMLFLOW_PORT='many'\n")
        facts = doctor.look(tmp_path, doctor.read_dotenv(tmp_path))
    assert facts.port_holders["GATEWAY_PORT"] == (port, "another program")
    assert facts.port_holders["MLFLOW_PORT"][0] == 5000
    assert facts.docker_cli is False


def test_it_runs_alone_and_fails_where_there_is_no_docker(tmp_path: Path) -> None:
    """No package, no site-packages, nothing on PATH."""
    command = [sys.executable, "-I", "-S", doctor.__file__, "--root", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={"PATH": str(tmp_path)}, check=False
    )
    assert done.returncode == 1
    assert "no `docker` command" in done.stdout
    assert done.stderr == ""


def test_it_parses_with_python_3_8_and_imports_the_standard_library_only() -> None:
    tree = ast.parse(Path(doctor.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
        )
        if name
    }
    assert imported <= sys.stdlib_module_names
