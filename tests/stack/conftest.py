"""One real stack for the whole session, under its own project name and ports, always torn down.

MODELYARD_OFFLINE=1   no container registry: the stand-ins of ci/docker (set by .ci/run)
CI=true               an engine is part of the promise: without one the tests fail
MODELYARD_STACK_LOGS  where the containers' logs go after a failure (build/stack-logs)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.models import moody
from support.models import numbered as numbered_models
from support.split import traffic
from support.stack_driver import FIGURES, ROOT, Stack, engine_version, wait_for
from support.turns import alone

# Cheap and stateless first, then the story of the README, then what breaks it, then the end.
ORDER = (
    "test_images",
    "test_start",
    "test_secrets",
    "test_registry_door",
    "test_confinement",
    "test_training",
    "test_trace",
    "test_gateway",
    "test_gateway_requests",
    "test_container_hardening",
    "test_poisoned_requests",
    "test_traffic",
    "test_traffic_ends",
    "test_bad_days",
    "test_end",
    "test_readme",
    "test_rollout",
    "test_faults",
    "test_chaos",
)
NO_ENGINE = (
    "THE STACK TESTS DID NOT RUN: no Docker engine answers. `make engine` starts one on a Debian "
    "machine; elsewhere start Docker Desktop or dockerd."
)
IN_CI = os.environ.get("CI", "").lower() in ("true", "1")
TEST_TIMEOUT_S = 1800  # the first test waits for every image to be built
_failed = pytest.StashKey[bool]()
_without_engine = pytest.StashKey[bool]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    mine = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in mine:
        item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))
    mine.sort(key=lambda item: ORDER.index(item.path.stem))
    others = [item for item in items if item not in mine]
    if mine and not IN_CI and not engine_version():
        # one skipped test speaks for all: fifty lines that say the same hide the one that counts
        config.stash[_without_engine] = True
        mine[0].add_marker(pytest.mark.skip(reason="no Docker engine answers"))
        config.hook.pytest_deselected(items=mine[1:])
        mine = mine[:1]
    items[:] = others + mine


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.stash.get(_without_engine, False):
        config.get_terminal_writer().line(NO_ENGINE, red=True, bold=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.session.stash[_failed] = True
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if FIGURES:
        terminalreporter.section("figures of the stack")
        for line in FIGURES:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def engine() -> str:
    """The version of the engine that answers; without one only CI comes this far, and fails."""
    return engine_version() or pytest.fail(f"{NO_ENGINE} In CI that is a failure.", pytrace=False)


@pytest.fixture(scope="session")
def images(engine: str) -> Stack:
    """The stack's images, built; nothing runs."""
    stack = Stack(os.environ.get("MODELYARD_STACK_PROJECT", "modelyard-test"))
    start = time.monotonic()
    with alone(ROOT / "build/images.lock"):  # the next session finds them in the engine's cache
        stack.compose("--profile", "train", "build")
    FIGURES.append(f"engine {engine}; all images built in {time.monotonic() - start:.0f} s")
    return stack


@pytest.fixture(scope="session")
def stack(images: Stack, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The stack, up on empty volumes; gone at the end, whatever happened."""
    with _running(images, request):
        yield images


@pytest.fixture(scope="session")
def numbered(images: Stack, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A stack of its own: three replicas, and versions that answer with their own number."""
    settings = {"MODEL_URI": numbered_models.URI, "SERVING_REPLICAS": "3"}
    own = Stack(f"{images.project}-numbered", settings=settings)
    with _running(own, request):
        yield own


@contextmanager
def _running(stack: Stack, request: pytest.FixtureRequest) -> Iterator[None]:
    stack.remove()  # what a killed session may have left
    try:
        FIGURES.append(f"up --wait on empty volumes: {stack.up():.1f} s")
        yield
    finally:
        if request.session.stash.get(_failed, False) or request.session.testsfailed:
            folder = Path(os.environ.get("MODELYARD_STACK_LOGS", ROOT / "build/stack-logs"))
            stack.save_logs(folder / stack.project)
            FIGURES.append(f"the containers' logs are in {folder / stack.project}")
        stack.remove()
    assert stack.leftovers() == []


@pytest.fixture(scope="session")
def trained(stack: Stack) -> Stack:
    """The stack with a champion, made by the reference run."""
    if not stack.version():
        stack.train()
    return stack


@pytest.fixture(scope="session")
def with_challenger(trained: Stack) -> Stack:
    """The stack with a challenger beside the champion, from here on to its end."""
    moody.register_moody(trained)
    trained.settings["CHALLENGER_MODEL_URI"] = moody.URI
    trained.compose("--profile", "challenger", "up", "-d", "--wait", "challenger", "traffic")
    wait_for("a ready challenger", lambda: traffic(trained)["challengers"] == 1)
    return trained


@pytest.fixture
def challenged(with_challenger: Stack) -> Iterator[Stack]:
    """Each test begins and ends with the champion alone."""
    yield with_challenger
    traffic(with_challenger, "--off")
