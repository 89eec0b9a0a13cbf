"""The registry commands on a terminal, in a pipe and for scripts; and on their bad days."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from uuid import uuid4

import pytest

from modelyard.registry import RegistryClient
from modelyard.registry.verdict import CHAMPION_TAG, NUMBERS_TAG, SENTENCE_TAG, VERDICT_TAG
from support.models.model import Model, register, register_without_files
from support.models.rankings import CONTRACT, ranking
from support.network import free_port
from support.registry_commands import COMMAND, Run, commands_for, environment

WIDTH = 100
REASON = "a worse score: roc_auc 0.60, the champion 0.80"


def verdict(word: str, sentence: str) -> dict[str, str]:
    numbers = {"metric": "roc_auc", "candidate": 0.6}
    return {
        VERDICT_TAG: word,
        SENTENCE_TAG: f"{word}: {sentence}",
        CHAMPION_TAG: "1",
        NUMBERS_TAG: json.dumps(numbers),
    }


@pytest.fixture(scope="module")
def model(mlflow_url: str) -> str:
    """Version 1 passed, 2 was refused, 3 was never judged and has neither contract nor manifest."""
    name, graph = f"commanded-{uuid4().hex[:8]}", Model(ranking("signal", "signal"), CONTRACT)
    origin = {"git.commit": "0123456789" * 4, "git.dirty": "true", "data.md5": "ab" * 16}
    machine = {"cpu": "Some CPU", "gpu": "none", "image": "training@sha256:12", "seed": "7"}
    run = {**origin, **machine, "git.changed": "src/a.py"}
    register(mlflow_url, name, graph, tags={**verdict("passed", "fine"), **origin}, run_tags=run)
    register(mlflow_url, name, graph, tags={**verdict("refused", REASON), **origin})
    register(mlflow_url, name, graph, without=("contract.yaml", "manifest.json"))
    return name


@pytest.fixture
def run(mlflow_url: str, model: str) -> Run:
    return commands_for(mlflow_url, model)


def on_a_terminal(mlflow_url: str, model: str, *words: str) -> list[str]:
    """What the command writes to a terminal of 100 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, WIDTH, 0, 0))
    plain = {**environment(mlflow_url, model), "NO_COLOR": "1", "COLUMNS": str(WIDTH)}
    process = subprocess.Popen([*COMMAND, *words], stdout=theirs, stderr=theirs, env=plain)
    os.close(theirs)
    written = b""
    try:
        while block := os.read(ours, 65536):
            written += block
    except OSError:  # the other side closed
        pass
    assert process.wait(60) == 0, written.decode()
    return re.sub(r"\x1b\[[0-9;]*m|\r", "", written.decode()).splitlines()


def test_versions_promotion_rollback_and_history_tell_one_story(run: Run, model: str):
    listed = run("versions").stdout.splitlines()
    assert listed[0].split("  ")[0] == "version"
    rows = {line.split()[0]: line for line in listed[1:]}
    assert ("passed" in rows["1"], "refused" in rows["2"]) == (True, True)
    assert "roc_auc 0.6000" in rows["1"]
    assert "0123456*" in rows["1"]  # with local changes
    assert run("status").stdout.count("none; train the first") == 1

    done = run("promote", "1", "--why", "the first")
    assert (done.returncode, done.stdout) == (0, f"{model}@champion is version 1 now\n")
    done = run("promote", "1", "--why", "again")
    assert (done.returncode, done.stdout) == (0, f"{model}@champion is version 1 already\n")
    done = run("promote", "3", "--why", "try")
    assert done.stdout.splitlines()[0] == f"{model}@champion is version 3 now, was 1"
    assert "note: version 3 was never judged by the gate\n" in done.stdout
    assert "note: version 3 has no registered manifest" in done.stdout

    done = run("promote", "2", "--why", "hurry")
    assert done.returncode == 7
    assert f"{model} version 2: refused: {REASON}" in done.stderr
    assert "modelyard promote 2 --force" in done.stderr
    done = run("promote", "2", "--why", "hurry", "--force")
    assert (done.returncode, "the gate had refused it" in done.stdout) == (0, True)

    done = run("promote", "1", "--why", "back", "--from", "3")
    assert done.returncode == 8
    assert f"{model}@champion is at version 2 (ann, " in done.stderr
    assert '"hurry"): expected version 3' in done.stderr
    assert run("rollback", "--why", "x", "--from", "3").returncode == 8
    done = run("rollback", "--why", "complaints", "--from", "2")
    assert done.stdout.splitlines()[0].endswith("3 now, was 2")
    done = run("rollback", "--why", "complaints")
    assert done.stdout.splitlines()[0].endswith("1 now, was 3")
    done = run("rollback", "--why", "complaints")
    assert (done.returncode, "No earlier version" in done.stderr) == (6, True)

    moves = json.loads(run("history", "--json").stdout)
    assert [(m["moved_from"], m["moved_to"], m["action"], m["forced"]) for m in moves] == [
        ("", "1", "promote", False),
        ("1", "3", "promote", False),
        ("3", "2", "promote", True),
        ("2", "3", "rollback", False),
        ("3", "1", "rollback", False),
    ]
    assert {m["who"] for m in moves} == {"ann"}
    assert "promote, forced" in run("history").stdout
    assert "@champion  version 1 since" in run("status").stdout
    assert json.loads(run("status", "--json").stdout)["aliases"] == {"champion": "1"}


def test_json_shortens_nothing(run: Run):
    version = json.loads(run("versions", "--json").stdout)[-1]
    assert version["commit"] == "0123456789" * 4
    assert version["data md5"] == "ab" * 16
    assert len(version["run"]) == 32
    assert version["gate sentence"] == "passed: fine"


@pytest.mark.parametrize("command", ["versions", "status", "history", "trace"])
def test_a_terminal_of_100_columns_is_enough(run: Run, mlflow_url: str, model: str, command: str):
    run("promote", "1", "--why", "a reason that is long enough to be wrapped " * 4)
    words = [command, "1"] if command == "trace" else [command]
    lines = on_a_terminal(mlflow_url, model, *words)
    assert max(map(len, lines)) <= WIDTH
    assert "…" not in "".join(lines)
    if command == "versions":
        rows = [line for line in lines if "roc_auc" in line or " - " in line]
        assert len(rows) == 3  # one line a version
        assert all(word in rows[-1] for word in ("1", "passed", "0123456*", "abababa"))


def test_a_pipe_gets_plain_columns(run: Run):
    output = run("versions").stdout + run("history").stdout + run("trace", "1").stdout
    assert "\x1b" not in output
    assert not set("│┃━─") & set(output)


def test_trace_tells_where_a_version_came_from(run: Run, model: str):
    run("promote", "1", "--why", "")
    done = run("trace", "champion")
    assert done.returncode == 0
    for said in (
        "0123456789" * 4, "src/a.py", "ab" * 16, "Some CPU", "training@sha256:12", "passed",
        "model.onnx", "became champion, by ann",
    ):  # fmt: skip
        assert said in done.stdout, said
    facts = json.loads(run("trace", "1", "--json").stdout)
    assert (facts["version"], facts["tags"]["cpu"]) == ("1", "Some CPU")
    assert len(facts["files"]["model.onnx"]) == 64


def test_trace_of_a_version_that_is_not_whole_says_what_is_lost(run: Run):
    done = run("trace", "3")
    assert done.returncode == 0
    assert "never judged" in done.stdout
    assert "not found" in done.stdout
    assert {"manifest.json", "config.yaml"} <= set(done.stdout.split())


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("promote", "99"), 6, "There is no version 99"),
        (("promote", "latest"), 6, '"latest" is not the number of a version'),
        (("trace", "99"), 6, "There is no version 99"),
        (("rollback", "--why", "x", "--alias", "champoin"), 6, 'Did you mean "champion"?'),
        (("history", "--alias", "champoin"), 6, 'Did you mean "champion"?'),
    ],
)
def test_a_mistake_is_a_sentence_with_a_fix(run: Run, words: tuple[str, ...], code: int, said: str):
    run("promote", "1", "--why", "")
    done = run(*words)
    assert done.returncode == code
    assert said in done.stderr
    assert "fix: " in done.stderr


@pytest.mark.parametrize(
    "command", ["versions", "status", "history", "promote", "rollback", "trace"]
)
def test_a_registry_that_is_down_is_exit_code_6(run: Run, command: str):
    words = {"promote": ["1"], "trace": ["1"], "rollback": ["--why", "x"]}.get(command, [])
    done = run(command, *words, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 6
    assert "does not answer" in done.stderr
    assert "fix: " in done.stderr


def test_two_who_roll_back_at_once_go_back_one_version(
    run: Run, mlflow_url: str, registry: RegistryClient
):
    name = f"raced-{uuid4().hex[:8]}"
    register_without_files(mlflow_url, name, {}, {}, {})
    for version in ("1", "2", "3"):
        run("promote", version, "--why", "", "--model", name)
    both = [
        subprocess.Popen(
            [*COMMAND, "rollback", "--why", "x", "--model", name, "--from", "3"],
            env=environment(mlflow_url, name),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(2)
    ]
    codes = sorted(process.wait(60) for process in both)
    assert codes == [0, 8]
    assert registry.aliases(name) == {"champion": "2"}
