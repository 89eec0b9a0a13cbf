"""The README, word by word: the commands under "Start, with Docker", in their order.

Only what differs on this machine is put in their place: the project's name and ports, and the
overlay for machines without a registry.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest

from support.stack_driver import COMPOSE_TIMEOUT_S, OFFLINE, ROOT, Stack, wait_for

README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(section: str) -> list[str]:
    """Every line of the `sh` blocks of one section."""
    (text,) = re.findall(
        rf"^## {re.escape(section)}\n(.*?)(?=^## )", README, re.DOTALL | re.MULTILINE
    )
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


START = commands("Start, with Docker")
API = commands("The API")


@pytest.fixture(scope="module")
def fresh(images: Stack) -> Iterator[Stack]:
    """A project of its own, with nothing in it."""
    stack = Stack(f"{images.project}-readme")
    try:
        yield stack
    finally:
        stack.remove()
    assert stack.leftovers() == []


def follow(stack: Stack, command: str) -> str:
    """Run one line of the README; returns what it printed."""
    command = command.replace("localhost:8000", f"localhost:{stack.gateway_port}")
    if OFFLINE:
        command = command.replace(
            "-f docker-compose.cpu.yml",
            "-f docker-compose.cpu.yml -f ci/docker/compose.offline.yml",
        )
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=stack.environment(),
        capture_output=True,
        text=True,
        timeout=COMPOSE_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_readme_starts_with_five_commands_and_they_do_what_it_says(fresh: Stack) -> None:
    up, health, train, train_on_cpu, predict = START
    follow(fresh, up)

    # the command that the refusal names is the README's next one
    wait_for("the sentence", lambda: train in json.loads(follow(fresh, health))["detail"])
    assert fresh.api.get("/health").status_code == 503

    follow(fresh, train)
    wait_for("a prediction", lambda: fresh.predict().status_code == 200)
    shown = json.loads(re.findall(r"```json\n(.*?)```", README, re.DOTALL)[0])
    answer = json.loads(follow(fresh, predict))
    assert answer["model"] == shown["model"]
    assert answer["prediction"] == pytest.approx(shown["prediction"], abs=0.05)
    assert json.loads(follow(fresh, health)) == {"status": "healthy"}

    follow(fresh, train_on_cpu)
    wait_for("the second version", lambda: fresh.version() == "2")


def test_the_admin_token_is_where_the_readme_says_and_reloads(fresh: Stack) -> None:
    (show_token,) = API
    token = follow(fresh, show_token.replace(" exec ", " exec -T ")).strip()
    assert fresh.inside("POST", "/admin/reload", authorization=f"Bearer {token}") == 200
    assert fresh.inside("POST", "/admin/reload") == 401


# Where the table's other commands are run: by the tests of these names, or by CI itself.
RUN_ELSEWHERE = {
    "make train": "test_training",
    "make rollout": "test_rollout",
    'make traffic ARGS="--canary 10"': "test_traffic",
    "make reproduce VERSION=2": "test_reproduce",
    "make check": "CI",
    "make test": "CI",
    "make soak": "by hand: CI runs the same tests in small",
}
EVERY_DAY = {
    "make help": "make rollback",
    "make doctor": "ready: docker compose up -d --wait",
    "make up": "",
    "make status": "fraud-detector version 2",
    "make versions": "champion",
    "make history": "trained with promote: auto",
    'make promote VERSION=2 WHY="…"': "fraud-detector@champion is version 2 already",
    'make rollback WHY="…"': "fraud-detector@champion is version 1 now, was 2",
    "make trace VERSION=2": "fraud-detector version 2",
    "make down": "",
}


def test_the_table_of_every_day_is_run(fresh: Stack) -> None:
    (table,) = re.findall(r"^## Every day\n(.*?)(?=^Settings)", README, re.DOTALL | re.MULTILINE)
    listed = re.findall(r"`(make [^`]+)`", table)
    assert set(listed) == RUN_ELSEWHERE.keys() | EVERY_DAY.keys()
    for command, said in EVERY_DAY.items():
        assert said in follow(fresh, command), command
    assert fresh.containers() == []
