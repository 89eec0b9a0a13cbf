"""What to do is told by the first thing that differs, and by where one is."""

from __future__ import annotations

from modelyard.reproduction.advice import advise
from modelyard.reproduction.comparison import Mismatch

PACKAGE = Mismatch("package numpy", "2.4.5", "2.4.6")


def test_another_package_is_fixed_by_the_image_of_that_commits_locks():
    said = advise(PACKAGE, "2", "c" * 40, in_checkout=False)
    locks = "requirements-train.txt requirements-train-cpu.txt"
    assert f"git checkout {'c' * 40} -- {locks}\n  make reproduce VERSION=2 ARGS=--build" in said
    assert f"git checkout HEAD -- {locks}" in said


def test_without_containers_it_is_the_environment_that_is_made_again():
    said = advise(PACKAGE, "2", "unknown", in_checkout=True)
    assert "git checkout COMMIT -- requirements-dev.txt && make .venv/.ready" in said
    assert "\n  modelyard reproduce 2\n" in said


def test_code_and_machine_have_a_next_step_of_their_own():
    code = advise(Mismatch("code", "a dirty tree", "commit c"), "2", "c", in_checkout=False)
    assert "commit it, on any branch" in code
    cpu = advise(Mismatch("CPU type", "A", "B"), "2", "c", in_checkout=False)
    assert "the same CPU type" in cpu
