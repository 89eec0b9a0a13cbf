"""`make rollout`, as far as it goes without an engine; tests/stack has the rest."""

from __future__ import annotations

import fcntl
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.host.rollout.__main__ import GATEWAY, lock_path
from modelyard.host.rollout.places import read_places
from modelyard.host.rollout.replicas import Container, ServiceSpec
from support.host_python import ROOT, oldest_python

SPEC = ServiceSpec("modelyard", 3, "modelyard/serving:local", "sha256:new", "hash", can_build=True)
REPLICA = Container("id", "name", "running", "sha256:new", "hash", 0, 0, 1)
FAKE_DOCKER = """#!/bin/sh
case "$*" in
  "compose config --format json") echo '{"name": "p", "services": {"serving": {"image": "i"}}}' ;;
  "compose config --hash serving") echo "serving abc" ;;
  *) echo "no such image" >&2; exit 1 ;;
esac
"""


def roll_out(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """With no package but our own, and no command but those in `tmp_path`."""
    return subprocess.run(
        [oldest_python(), "-S", "-m", "modelyard.host.rollout", "--no-build"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path), "PYTHONPATH": str(ROOT / "src"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_docker_the_fix_is_to_install_it(tmp_path: Path):
    done = roll_out(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: Docker is not here\n")
    assert "`docker` cannot be started" in done.stderr
    assert "fix: Install Docker" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_rollouts_of_one_project_do_not_meet(tmp_path: Path, monkeypatch):
    docker = tmp_path / "docker"
    docker.write_text(FAKE_DOCKER)
    docker.chmod(0o755)
    path = lock_path("p")
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = roll_out(tmp_path, PATH=f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    path.unlink()
    assert done.returncode == 2
    assert "Another rollout of p is under way" in done.stderr


def test_the_gateways_places_are_read_from_its_configuration(tmp_path: Path):
    assert read_places(ROOT / GATEWAY) == 8
    assert read_places(tmp_path / "none.cfg") == 8
    other = tmp_path / "haproxy.cfg"
    other.write_text(
        "backend a\n  server-template s 1-12 serving:8000 check\n"
        "backend b\n  server-template s 1-10 serving:8000\n"
        "backend c\n  server-template c 1-4 challenger:8000\n"
    )
    assert read_places(other) == 10


def test_a_replica_is_new_by_its_image_and_its_settings():
    assert SPEC.is_met_by(REPLICA)
    assert not SPEC.is_met_by(replace(REPLICA, image_id="sha256:old"))
    assert not SPEC.is_met_by(replace(REPLICA, config_hash="other"))


@pytest.mark.parametrize(
    ("state", "restarts", "has_ended"),
    [("running", 0, False), ("running", 1, True), ("exited", 0, True), ("paused", 0, False)],
)
def test_a_replica_that_was_started_again_has_ended_before(state, restarts, has_ended):
    assert replace(REPLICA, state=state, restarts=restarts).has_ended is has_ended
