"""`make reproduce`: `modelyard reproduce` in the training container, with code from the checkout.

    PYTHONPATH=src python3 -m modelyard.host.reproduce --help

The container has no git, and the host does not reach the store. So the host finds the recorded code
and hands it over as a tar archive, by standard input: no folder has to be mounted, which another
user or an engine elsewhere could not read, and none has to be removed, however this ends.
"""

# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from modelyard.errors import ReproductionError
from modelyard.host import docker
from modelyard.host.reproduce.container import COMPOSE, SERVICE, run_modelyard
from modelyard.program import run_command
from modelyard.recorded_code import (
    RecordedCode,
    fetch_command,
    find_code,
    read_recorded,
    write_archive,
)

_SHORT = 12


def main(argv: Sequence[str] | None = None) -> int:
    """Reproduce a version; shows what the container prints, and returns its exit code.

    Raises:
        ReproductionError: docker is not there, the image cannot be built, or git fails.
    """
    parser = argparse.ArgumentParser(
        prog="make reproduce",
        description=(__doc__ or "").partition("\n")[0],
        epilog="Exit codes are those of `modelyard reproduce`, in docs/registry.md.",
    )
    parser.add_argument("version", help="number of the version")
    parser.add_argument("--model", help="registered model; MODEL_NAME by default")
    parser.add_argument("--json", action="store_true", help="JSON instead of lines")
    parser.add_argument("--build", action="store_true", help="build the image before")
    chosen = parser.parse_args(argv)
    model = ["--model", chosen.model] if chosen.model else []
    as_json = ["--json"] if chosen.json else []
    try:
        if chosen.build:
            docker.show(*COMPOSE, "build", SERVICE)
        code, record = run_modelyard(["trace", chosen.version, "--json", *model], capture=True)
        if code:
            return code  # and it has said why
        recorded = read_recorded(json.loads(record).get("tags", {}))
        command = ["reproduce", chosen.version, *model, *as_json]
        return reproduce_in_container(command, recorded, Path.cwd())
    except docker.DockerError as error:
        raise ReproductionError(
            error.detail,
            fix="make doctor says what is missing. Without the stack: modelyard reproduce VERSION",
        ) from error


def reproduce_in_container(command: Sequence[str], recorded: RecordedCode, root: Path) -> int:
    """Run `command` with the recorded code of the checkout `root`; returns its exit code."""
    found = find_code(recorded, root)
    if found is None:
        parts = (("commit", recorded.commit), ("src/ as tree", recorded.tree))
        known = ", ".join(f"{what} {name[:_SHORT]}" for what, name in parts if name)
        _print_step(f"has not the code ({known or 'neither commit nor content is on record'})")
        _print_step(f"if the image lacks it too: {fetch_command(root)}, and again")
        return run_modelyard(command)[0]
    with tempfile.TemporaryFile() as archive:
        write_archive(found, root, archive)
        archive.seek(0)
        where = f"commit {found.commit[:_SHORT]}" if found.commit else "its files as they are"
        _print_step(f"{where}, handed over to the container")
        return run_modelyard([*command, "--code", "-"], archive)[0]


def _print_step(sentence: str) -> None:
    print(f"checkout  {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(run_command(main))
