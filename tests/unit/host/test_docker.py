"""docker commands: what they print, and what a failure is told with."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.errors import ExitCode
from modelyard.host import docker

ID = "a" * 64


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the body of a shell script the command `docker`."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def write(body: str) -> None:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "docker").chmod(0o755)

    return write


def test_standard_output_is_captured_and_the_errors_only_where_asked_for(script):
    script('echo "$*"; echo warning >&2')
    assert docker.capture("ps", "--all") == "ps --all\n"
    assert docker.capture("logs", ID, with_errors=True) == f"logs {ID}\nwarning\n"


def test_a_failure_names_the_command_and_the_end_of_what_it_printed(script):
    script("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 1")
    with pytest.raises(docker.DockerError) as caught:
        docker.capture("rm", ID)
    lines = [f"line {i}" for i in range(3, 8)]
    assert caught.value.detail == "\n".join(["`docker rm aaaaaaaaaaaa` failed:", *lines])
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert caught.value.fix


def test_a_failure_that_is_printed_on_standard_output_is_told_too(script):
    script("echo told; exit 1")
    for with_errors in (False, True):
        with pytest.raises(docker.DockerError, match="told"):
            docker.capture("ps", with_errors=with_errors)


def test_what_does_not_end_in_time_is_ended(script):
    script("exec sleep 60")
    with pytest.raises(docker.DockerError, match=r"`docker ps` did not end within 0\.2 s"):
        docker.capture("ps", timeout_s=0.2)


def test_a_command_on_the_terminal_says_by_itself_why_it_fails(script, capfd):
    script("echo reason >&2; exit 2")
    with pytest.raises(docker.DockerError, match="it says why above"):
        docker.show("build")
    assert capfd.readouterr().err == "reason\n"


def test_a_command_under_way_gets_its_input_and_an_empty_one_else(script, tmp_path: Path):
    script("cat; echo end")
    (tmp_path / "fed").write_text("fed\n")
    with (tmp_path / "fed").open("rb") as file:
        process = docker.start("run", stdin=file, stdout=subprocess.PIPE)
    assert process.communicate()[0] == "fed\nend\n"
    process = docker.start("run", stdin=None, stdout=subprocess.PIPE)
    assert process.communicate()[0] == "end\n"


@pytest.mark.parametrize(
    "command",
    [
        lambda: docker.capture("ps"),
        lambda: docker.show("ps"),
        lambda: docker.start("ps", stdin=None, stdout=None),
    ],
    ids=["capture", "show", "start"],
)
def test_without_docker_the_fix_is_to_install_it(command, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(docker.DockerNotFoundError, match="cannot be started") as caught:
        command()
    assert docker.INSTALL_URL in caught.value.fix
