"""What to do about a version that was not reproduced, told by the first thing that differs."""

from __future__ import annotations

from modelyard.provenance import UNKNOWN
from modelyard.reproduction.comparison import Mismatch

_IN_IMAGE = """\
Take the packages of that commit, and today's again afterwards:
  git checkout {commit} -- requirements-train.txt requirements-train-cpu.txt
  make reproduce VERSION={version} ARGS=--build
  git checkout HEAD -- requirements-train.txt requirements-train-cpu.txt
The next make train builds today's image again."""
_IN_CHECKOUT = """\
Take the packages of that commit, and today's again afterwards:
  git checkout {commit} -- requirements-dev.txt && make .venv/.ready
  modelyard reproduce {version}
  git checkout HEAD -- requirements-dev.txt && make .venv/.ready"""


def advise(first: Mismatch, version: str, commit: str, *, in_checkout: bool) -> str:
    """The next step.

    Args:
        first: the likeliest cause, of the circumstances or of the files.
        version: number of the version.
        commit: the code that was trained; its locks name the packages of that time.
        in_checkout: whether this is a checkout, not an image.
    """
    at = "COMMIT" if commit == UNKNOWN else commit
    if first.what == "code":
        return (
            "Only src/ as it was can give the same bytes. If anyone still has it: commit it, on "
            "any branch, and reproduce again; it is found by its content."
        )
    if first.what.startswith("package "):
        return (_IN_CHECKOUT if in_checkout else _IN_IMAGE).format(commit=at, version=version)
    return (
        "Make that the same, as a container of the recorded image on the same CPU type does; then "
        "reproduce again."
    )
