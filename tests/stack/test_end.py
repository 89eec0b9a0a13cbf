"""`docker compose down -v` leaves nothing."""

from __future__ import annotations

from support.stack_driver import FIGURES, Stack, run


def test_the_stack_at_rest_stays_within_its_limits(trained: Stack) -> None:
    names = [c["Name"].removeprefix("/") for c in trained.containers() if c["State"]["Running"]]
    form = "{{.Name}} {{.MemUsage}}"
    used = run("docker", "stats", "--no-stream", "--format", form, *names).stdout
    FIGURES.extend(f"memory at rest: {line}" for line in used.splitlines())
    for container in trained.containers():
        assert container["State"]["OOMKilled"] is False
        assert container["RestartCount"] <= 2  # those that the tests killed


def test_down_with_volumes_leaves_nothing(stack: Stack) -> None:
    assert stack.leftovers()
    stack.compose("--profile", "*", "down", "-v")  # as a stack with a challenger is taken down
    assert stack.leftovers() == []
