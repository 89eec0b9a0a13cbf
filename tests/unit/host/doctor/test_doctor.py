"""`make doctor`: what it says about machines that cannot run the stack."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.host.doctor.__main__ import choose_compose_file, main, render_finding
from modelyard.host.doctor.checks import Finding, check_cpus, judge
from modelyard.host.doctor.facts import (
    COMPARED,
    CPU_LIMITS,
    EXAMPLE_FILE,
    GATEWAY_FILE,
    OWN_STACK,
    PORTS,
    Facts,
    look,
    read_dotenv,
    read_example,
)
from modelyard.settings import DemoSettings, ServingSettings, variable_of
from support.host_python import ROOT, oldest_python

KINDS = (DemoSettings, ServingSettings)

GOOD = Facts(
    docker_cli=True,
    engine="28.5.2",
    compose="2.40.3",
    port_holders={"GATEWAY_PORT": (8000, ""), "MLFLOW_PORT": (5000, OWN_STACK)},
    free_disk_bytes=100 * 2**30,
    memory_bytes=16 * 2**30,
    gpu_driver="580.65.06",
    engine_knows_nvidia=True,
    settings={name: read_example(ROOT)[name] for name in COMPARED},
)


def with_settings(**settings: str) -> Facts:
    return replace(GOOD, settings={**GOOD.settings, **settings})


def failing(facts: Facts) -> list[Finding]:
    return [finding for finding in judge(facts) if not finding.ok]


def test_a_good_machine_has_nothing_to_fix() -> None:
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
        (with_settings(SERVING_REPLICAS="9"), "replicas", "9", "raise 1-8"),
        (with_settings(SERVING_REPLICAS="0"), "replicas", "0", "in .env"),
        (with_settings(SERVING_REPLICAS="²"), "replicas", "²", "in .env"),
        (replace(with_settings(SERVING_REPLICAS="5"), places=4), "replicas", "5", "raise 1-4"),
        (replace(GOOD, settings={}), "defaults", "no such file", "git checkout -- .env.example"),
        (with_settings(GATEWAY_SERVER_TIMEOUT_S="5"), "timeouts", "waits 5 s", "in .env"),
        (with_settings(SERVING_REQUEST_TIMEOUT_S="8.5"), "timeouts", "take 8.5 s", "in .env"),
        (with_settings(SERVING_REQUEST_TIMEOUT_S="soon"), "timeouts", "soon", "in .env"),
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
        assert word in render_finding(finding)


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
    assert render_finding(finding).startswith("note")


def test_without_a_gpu_training_gets_the_cpu_overlay() -> None:
    cpu = replace(GOOD, gpu_driver=None)
    both = os.pathsep.join(["docker-compose.yml", "docker-compose.cpu.yml"])
    assert choose_compose_file(cpu, "", has_override=False) == both
    assert choose_compose_file(GOOD, "", has_override=False) == "docker-compose.yml"


def test_the_users_own_compose_files_stay() -> None:
    cpu = replace(GOOD, gpu_driver=None)
    chosen = os.pathsep.join(["docker-compose.yml", "mine.yml"])
    found = choose_compose_file(cpu, chosen, has_override=False).split(os.pathsep)
    assert found == ["docker-compose.yml", "docker-compose.cpu.yml", "mine.yml"]
    again = os.pathsep.join(found)
    assert choose_compose_file(cpu, again, has_override=False) == again
    with_override = choose_compose_file(cpu, "", has_override=True).split(os.pathsep)
    assert with_override[-1] == "docker-compose.override.yml"


def test_ports_come_from_dotenv_and_a_busy_one_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no docker, no nvidia-smi
    shutil.copy(ROOT / EXAMPLE_FILE, tmp_path)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        (tmp_path / ".env").write_text(f"# ports\nGATEWAY_PORT={port}\nMLFLOW_PORT='many'\n")
        facts = look(tmp_path, read_dotenv(tmp_path))
    assert facts.port_holders["GATEWAY_PORT"] == (port, "another program")
    assert facts.port_holders["MLFLOW_PORT"][0] == 5000
    assert facts.docker_cli is False


def test_replicas_and_timeouts_come_from_dotenv_and_places_from_the_gateways_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in COMPARED:
        monkeypatch.delenv(name, raising=False)
    shutil.copy(ROOT / EXAMPLE_FILE, tmp_path)
    configuration = tmp_path / GATEWAY_FILE
    configuration.parent.mkdir(parents=True)
    text = (ROOT / GATEWAY_FILE).read_text(encoding="utf-8")
    configuration.write_text(text.replace("1-8 serving:", "1-6 serving:", 1), encoding="utf-8")
    dotenv = "SERVING_REPLICAS=7\nGATEWAY_SERVER_TIMEOUT_S=20\nSERVING_REQUEST_TIMEOUT_S=30\n"
    (tmp_path / ".env").write_text(dotenv)
    assert main(["--root", str(tmp_path), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    found = {check["check"]: check for check in said["checks"]}
    assert said["ready"] is False
    assert (found["replicas"]["ok"], found["replicas"]["found"]) == (False, "7")
    assert found["replicas"]["expected"].startswith("1 to 6 ")
    assert (found["timeouts"]["ok"], "waits 20 s" in found["timeouts"]["found"]) == (False, True)
    monkeypatch.setenv("SERVING_REPLICAS", "6")  # which counts before .env
    monkeypatch.setenv("SERVING_REQUEST_TIMEOUT_S", "")  # which counts as none
    main(["--root", str(tmp_path), "--json"])
    found = {check["check"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert (found["replicas"]["ok"], found["timeouts"]["ok"]) == (True, True)


@pytest.mark.parametrize("name", [*PORTS, *COMPARED])
def test_what_is_compared_has_the_defaults_of_the_stack(name: str) -> None:
    default = read_example(ROOT)[name]
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    of_compose = set(re.findall(rf"\$\{{{name}:-([^}}]*)}}", text))
    settings = {
        variable_of(kind, f): kind.model_fields[f] for kind in KINDS for f in kind.model_fields
    }
    of_settings = {f"{settings[name].default:g}"} if name in settings else set()
    assert of_compose | of_settings == {default}


def test_json_says_ready_by_the_exit_code_and_lists_every_check(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = main(["--root", str(ROOT), "--json"])
    said = json.loads(capsys.readouterr().out)
    needed = [check["ok"] for check in said["checks"] if check["needed"]]
    assert (said["ready"], code) == (all(needed), 0 if all(needed) else 1)
    assert set(said["checks"][0]) == set(Finding._fields)
    assert {"engine", "replicas", "timeouts", "gpu"} <= {check["check"] for check in said["checks"]}


def test_it_needs_no_packages_and_fails_where_there_is_no_docker(tmp_path: Path) -> None:
    command = [oldest_python(), "-S", "-m", "modelyard.host.doctor", "--root", str(tmp_path)]
    alone = {"PATH": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, env=alone, check=False)
    assert done.returncode == 1
    assert "no `docker` command" in done.stdout
    assert done.stderr == ""


def test_a_root_that_is_no_folder_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--root", "/nowhere"])
    assert caught.value.code == 2
    assert "expected the project's folder, found no folder /nowhere" in capsys.readouterr().err


def test_an_engine_that_does_not_answer_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexec >&2; echo more; echo Cannot connect to the daemon; exit 1\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    facts = look(tmp_path, {})
    assert (facts.docker_cli, facts.engine, facts.compose) == (True, None, None)
    assert facts.engine_error == "Cannot connect to the daemon"


@pytest.mark.parametrize(
    ("limit", "ok"), [("2", True), ("0.5", True), ("2.5", False), ("64", False), ("two", False)]
)
def test_more_processors_than_the_machine_has_are_noticed(limit: str, ok: bool) -> None:
    """The engine refuses to create such a container."""
    settings = dict.fromkeys(CPU_LIMITS, "0") | {"TRAINING_CPUS": limit}
    (finding,) = check_cpus(Facts(cpus=2, settings=settings))
    assert finding.ok is ok
    assert finding.needed
    assert finding.found == f"TRAINING_CPUS={limit}"
    assert check_cpus(Facts(cpus=2, settings=dict.fromkeys(CPU_LIMITS, "0"))) == []
    assert check_cpus(Facts(settings=settings)) == []


def test_every_limit_on_processors_is_compared() -> None:
    text = (ROOT / EXAMPLE_FILE).read_text(encoding="utf-8")
    assert set(CPU_LIMITS) == set(re.findall(r"(?m)^#(\w+_CPUS)=", text))
