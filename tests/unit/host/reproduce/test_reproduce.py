"""`make reproduce`, as far as it goes without an engine; tests/stack has the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.host_python import ROOT, oldest_python
from support.repository import Repository, code_tags

# Answers `trace` with what the test says, and keeps what `reproduce` is given.
FAKE_DOCKER = """#!/bin/sh
echo "$*" >> "$CALLS/log"
case "$*" in
  *"--entrypoint modelyard training trace 7 "*) cat "$CALLS/record"; exit "$TRACE_CODE" ;;
  *"--entrypoint modelyard training reproduce 7"*)
    cat > "$CALLS/fed"
    echo rebuilt
    $AT_REPRODUCE
    exit "$REPRODUCE_CODE" ;;
esac
"""


@dataclass
class Host:
    """A checkout, and commands that are kept instead of run."""

    repository: Repository
    calls: Path

    def environment(self, record: dict[str, str], **settings: str) -> dict[str, str]:
        (self.calls / "record").write_text(json.dumps({"version": "7", "tags": record}))
        return {
            "PATH": f"{self.calls}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "src"),
            "TMPDIR": str(self.calls / "temporary"),
            "CALLS": str(self.calls),
            "TRACE_CODE": "0",
            "REPRODUCE_CODE": "0",
            "AT_REPRODUCE": "",
            **settings,
        }

    def start(self, record: dict[str, str], *options: str, **settings: str) -> subprocess.Popen:
        """With no package but our own."""
        return subprocess.Popen(
            [oldest_python(), "-S", "-m", "modelyard.host.reproduce", *options, "7"],
            cwd=self.repository.root,
            env=self.environment(record, **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def reproduce(
        self, record: dict[str, str], *options: str, **settings: str
    ) -> tuple[int, str, str]:
        """Exit code, standard output, error output."""
        process = self.start(record, *options, **settings)
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        return process.returncode, out, err

    def last_call(self) -> str:
        return (self.calls / "log").read_text().splitlines()[-1]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    calls = tmp_path / "calls"
    (calls / "temporary").mkdir(parents=True)
    (calls / "docker").write_text(FAKE_DOCKER)
    (calls / "docker").chmod(0o755)
    return Host(Repository(tmp_path / "repository"), calls)


def handed_over(host: Host) -> bytes:
    with tarfile.open(host.calls / "fed") as archive:
        return archive.extractfile("src/a.py").read()


def test_the_recorded_commit_is_handed_over_and_nothing_stays(host: Host):
    record = code_tags(host.repository.first, host.repository.first_tree)
    code, out, err = host.reproduce(record, "--json", "--model", "m")
    assert (code, out) == (0, "rebuilt\n")
    assert f"commit {host.repository.first[:12]}, handed over" in err
    assert host.last_call().endswith("training reproduce 7 --model m --json --code -")
    assert handed_over(host) == b"x = 1\n"
    assert list((host.calls / "temporary").iterdir()) == []
    assert host.repository.git("status", "--porcelain") == ""


def test_files_as_recorded_are_handed_over_even_if_no_commit_has_them(host: Host):
    (host.repository.root / "src/a.py").write_text("x = 3\n")
    _, tree = host.repository.commit("x = 3\n")
    host.repository.git("reset", "-q", "--soft", host.repository.second)
    code, _, _ = host.reproduce(code_tags("a" * 40, tree))
    assert code == 0
    assert handed_over(host) == b"x = 3\n"


def test_a_commit_that_the_clone_lacks_leaves_it_to_the_image(host: Host):
    code, _, err = host.reproduce(code_tags("a" * 40, "f" * 40), REPRODUCE_CODE="9")
    assert code == 9
    assert f"has not the code (commit {'a' * 12}, src/ as tree {'f' * 12})" in err
    assert "git fetch --all --tags, and again" in err
    assert host.last_call().endswith("training reproduce 7")


def test_the_exit_code_of_the_container_is_its_own(host: Host):
    record = code_tags(host.repository.first, host.repository.first_tree)
    assert host.reproduce(record, REPRODUCE_CODE="9")[0] == 9
    assert host.reproduce(record, TRACE_CODE="6")[0] == 6
    assert "reproduce 7" not in host.last_call()


def test_an_image_that_cannot_be_built_is_not_reproduced(host: Host):
    (host.calls / "docker").write_text("#!/bin/sh\necho no space left >&2\nexit 17\n")
    code, out, err = host.reproduce(code_tags("a" * 40), "--build")
    assert (code, out) == (9, "")
    assert err.startswith("no space left\nerror: The version was not reproduced\n")
    assert "`docker compose --profile train build training` failed" in err


def test_without_docker_the_fix_is_the_doctor(host: Host):
    code, out, err = host.reproduce(code_tags("a" * 40), PATH="/nowhere")
    assert (code, out) == (9, "")
    assert "`docker` cannot be started" in err
    assert "fix: make doctor" in err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["stopped", "Ctrl-C"]
)
def test_what_ends_it_ends_the_container_too(host: Host, number: signal.Signals, code: int):
    record = code_tags(host.repository.first, host.repository.first_tree)
    process = host.start(record, AT_REPRODUCE="exec sleep 60")
    assert process.stdout.readline() == "rebuilt\n"
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert host.last_call() == f"rm --force --volumes modelyard-reproduce-{process.pid}"
    assert list((host.calls / "temporary").iterdir()) == []
