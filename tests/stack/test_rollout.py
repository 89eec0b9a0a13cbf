"""`make rollout` on the real engine: nothing is lost, and what does not work does not stay."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from support.models.numbered import register_numbered, serve_numbered, served
from support.replicas import docker, replica_names, wait_until_ready
from support.soak import SOAK, size
from support.stack_driver import FIGURES, ROOT, Stack, run, wait_for
from support.traffic import Traffic, is_numbered, numbered_row
from support.traffic_report import STEADY

REPLICAS = 3
RATE = 60.0
NEXT = "LABEL next=1"
BROKEN = """USER 0
RUN cd /app/src/modelyard/serving && rm -r __pycache__ && echo 'exit("am broken")' > __main__.py
USER 10001:10001"""
OVERLAY = """
services:
  serving:
    build: !override
      context: .
      dockerfile_inline: |
        FROM {base}
        {lines}
"""
TIMEOUT_S = 300


class Rollout:
    """A rollout under way; the end of the block is its end."""

    def __init__(self, stack: Stack, *options: str, **settings: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "modelyard.host.rollout", *options],
            cwd=ROOT,
            env=stack.environment(PYTHONPATH="src", **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def wait(self) -> int:
        """Its exit code."""
        self.said, _ = self._process.communicate(timeout=TIMEOUT_S)
        assert "Traceback" not in self.said, self.said
        return self._process.returncode

    def interrupt(self, number: signal.Signals) -> int:
        """As a terminal does: the signal goes to everything that the command has started."""
        os.killpg(self._process.pid, number)
        return self.wait()


def try_to_roll_out(stack: Stack, *options: str, **settings: str) -> tuple[int, str]:
    """Exit code, and what it said."""
    with Rollout(stack, *options, **settings) as rollout:
        return rollout.wait(), rollout.said


def roll_out(stack: Stack, *options: str, **settings: str) -> str:
    """One that has to go well; returns what it said."""
    code, said = try_to_roll_out(stack, *(options or ("--no-build",)), **settings)
    assert code == 0, said
    return said


def traffic_to(stack: Stack) -> Traffic:
    url = f"http://127.0.0.1:{stack.gateway_port}/predict"
    return Traffic(url, RATE, row=numbered_row, check=is_numbered)


@pytest.fixture(scope="module")
def images_of_its_own(numbered: Stack) -> Iterator[dict[str, str]]:
    """Images by name: `next` is another one that works, `broken` does not start."""
    base = numbered.environment()["SERVING_IMAGE"]
    made = {}
    for name, lines in (("next", NEXT), ("broken", BROKEN)):
        made[name] = f"modelyard/serving:{numbered.project}-{name}"
        text = f"FROM {base}\n{lines}\n"
        done = run("docker", "build", "--quiet", "--tag", made[name], "-", input=text)
        assert done.returncode == 0, done.stderr
    yield made
    for image in made.values():
        run("docker", "image", "rm", "--force", image)


@pytest.fixture(scope="module")
def version(numbered: Stack) -> str:
    return register_numbered(numbered)


@pytest.fixture
def serving(numbered: Stack, version: str) -> Stack:
    """Three ready replicas as the settings want them, whatever the test before left."""
    numbered.compose("up", "-d", "--no-deps", "serving")
    serve_numbered(numbered, version)
    wait_until_ready(numbered, REPLICAS)
    return numbered


def test_without_a_model_it_is_enough_to_live(numbered: Stack) -> None:
    if served(numbered):
        pytest.fail("this test needs an empty registry: run the whole file")
    before = replica_names(numbered)
    said = roll_out(numbered, SERVING_LOG_LEVEL="debug", SERVING_REPLICAS="1")
    (name,) = replica_names(numbered)
    assert name not in before
    assert f"ready     {name}" in said


def test_another_image_under_load(serving: Stack, images_of_its_own) -> None:
    images = [images_of_its_own["next"], serving.environment()["SERVING_IMAGE"]]
    images = [images[turn % 2] for turn in range(size(1, 4))]
    with traffic_to(serving) as traffic:
        for image in images:
            time.sleep(2)
            before = replica_names(serving)
            with traffic.phase("rollout"):
                roll_out(serving, SERVING_IMAGE=image)
            after = serving.containers("serving")
            assert {c["Config"]["Image"] for c in after} == {image}
            assert len(after) == REPLICAS
            assert not set(before) & set(replica_names(serving))
    report = traffic.report()
    assert traffic.failures == []
    steady, during = report.phase(STEADY), report.phase("rollout")
    FIGURES.append(
        f"rollouts: {len(images)}, {report.requests} requests, {report.failed} failed; p99 "
        f"{steady.p99_ms:.1f} ms steady, {during.p99_ms:.1f} ms during, the longest "
        f"{during.max_ms:.0f} ms"
    )


def test_other_settings_and_another_number_of_replicas(serving: Stack) -> None:
    """What a rollout makes is what Compose would make, and the other way round."""
    changed = {"SERVING_LOG_LEVEL": "debug", "SERVING_REPLICAS": "2"}
    again = ["make", "--no-print-directory", "rollout", "ARGS=--no-build"]
    with traffic_to(serving) as traffic:
        roll_out(serving, **changed)
        containers, names = serving.containers("serving"), replica_names(serving)
        serving.compose("up", "-d", "--no-deps", "serving", **changed)
        done = run(*again, cwd=ROOT, env=serving.environment(**changed))
        assert replica_names(serving) == names
        one_by_one = ("--no-build", "--places", "3")
        roll_out(serving, *one_by_one, SERVING_REPLICAS="2")
    assert traffic.failures == []
    assert len(containers) == 2
    assert all("SERVING_LOG_LEVEL=debug" in c["Config"]["Env"] for c in containers)
    assert (done.returncode, "nothing to do" in done.stdout) == (0, True), done.stderr
    assert len(replica_names(serving)) == 2
    assert not set(names) & set(replica_names(serving))


def test_an_image_that_does_not_start_does_not_stay(serving: Stack, images_of_its_own) -> None:
    before = replica_names(serving)
    with traffic_to(serving) as traffic:
        broken = {"SERVING_IMAGE": images_of_its_own["broken"]}
        code, said = try_to_roll_out(serving, "--no-build", **broken)
    assert code == 1, said
    assert traffic.failures == []
    assert replica_names(serving) == before
    assert re.search(r"went back\n\S+ ended", said)
    assert "    am broken" in said
    assert "take the change of SERVING_IMAGE" in said


def test_an_image_that_was_built_in_vain_gives_its_name_back(
    serving: Stack, images_of_its_own, tmp_path: Path
) -> None:
    good = images_of_its_own["next"]
    roll_out(serving, SERVING_IMAGE=good)
    before, good_id = replica_names(serving), docker("image", "inspect", "-f", "{{.Id}}", good)
    overlay = tmp_path / "broken.yml"
    lines = BROKEN.replace("\n", "\n        ")
    overlay.write_text(OVERLAY.format(base=serving.environment()["SERVING_IMAGE"], lines=lines))
    files = os.pathsep.join([serving.environment()["COMPOSE_FILE"], str(overlay)])
    code, said = try_to_roll_out(serving, SERVING_IMAGE=good, COMPOSE_FILE=files)
    assert code == 1, said
    assert docker("image", "inspect", "-f", "{{.Id}}", good) == good_id
    assert "as before the build" in said
    assert docker("image", "ls", "--quiet", f"{good}-before") == ""
    serving.compose("up", "-d", "--no-deps", "serving", SERVING_IMAGE=good)
    assert replica_names(serving) == before


def test_replicas_that_live_and_get_no_model_do_not_stay(serving: Stack) -> None:
    before = replica_names(serving)
    options = ("--no-build", "--timeout", "4")
    code, said = try_to_roll_out(serving, *options, MODEL_URI="models:/nobody@champion")
    assert code == 1, said
    assert replica_names(serving) == before
    assert "was not ready within 4 s" in said
    assert 'no model \\"nobody\\"' in said  # out of the server's own log


@pytest.mark.parametrize("number", [signal.SIGINT, *([signal.SIGKILL] if SOAK else [])])
def test_an_interrupted_rollout_goes_on_where_it_is_run_again(
    serving: Stack, number: signal.Signals
) -> None:
    before = set(replica_names(serving))
    changed = {"SERVING_LOG_LEVEL": "debug"}
    with traffic_to(serving) as traffic, Rollout(serving, "--no-build", **changed) as rollout:
        wait_for("a new replica", lambda: len(replica_names(serving)) > REPLICAS)
        code = rollout.interrupt(number)
        assert before <= set(replica_names(serving))
        started = set(replica_names(serving)) - before
        roll_out(serving, **changed)
    assert traffic.failures == []
    assert code == (130 if number is signal.SIGINT else -signal.SIGKILL)
    assert ("goes on from here" in rollout.said) == (number is signal.SIGINT)
    after = set(replica_names(serving))
    assert len(after) == REPLICAS
    assert not after & before
    assert started & after


def test_what_cannot_be_rolled_out_is_refused_before_anything_changes(serving: Stack) -> None:
    before = replica_names(serving)
    for settings, sentence in (
        ({"SERVING_REPLICAS": "99"}, "expected 1 to 8"),
        ({"SERVING_IMAGE": "modelyard/serving:no-such"}, "modelyard/serving:no-such"),
        ({"COMPOSE_FILE": "no-such.yml"}, "no-such.yml"),
    ):
        code, said = try_to_roll_out(serving, "--no-build", **settings)
        assert code == 2, said
        assert sentence in said
    assert replica_names(serving) == before
