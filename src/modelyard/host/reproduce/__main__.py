"""`make reproduce`: `modelyard reproduce` in the training container, with code from the checkout.

    PYTHONPATH=src python3 -m modelyard.host.reproduce --help

The container has no git, and the host does not reach the store. So the host finds the recorded code
and hands it over as a tar archive, by standard input: no folder has to be mounted, which another
user or an engine elsewhere could not read, and none has to be removed, however this ends.

Standard library only, and any Python from 3.8: nothing is installed on the host. Exit codes are
those of `modelyard reproduce`; 130 and 143 interrupted.
"""

# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from modelyard.errors import ReproductionError
from modelyard.host.reproduce import container
from modelyard.recorded_code import (
    Recorded,
    fetch_command,
    find_code,
    read_recorded,
    write_archive,
)

_INTERRUPTED = 130
_SHORT = 12


def main(argv: Sequence[str] | None = None) -> int:
    """Reproduce a version; what the container prints is printed."""
    parser = argparse.ArgumentParser(
        prog="make reproduce", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("version", help="number of the version")
    parser.add_argument("--model", help="registered model; MODEL_NAME by default")
    parser.add_argument("--json", action="store_true", help="JSON instead of lines")
    parser.add_argument("--build", action="store_true", help="build the image before")
    chosen = parser.parse_args(argv)
    model = ["--model", chosen.model] if chosen.model else []
    as_json = ["--json"] if chosen.json else []
    signal.signal(signal.SIGTERM, _terminate)
    try:
        if chosen.build:
            container.build()
        facts = json.loads(container.ask("trace", chosen.version, "--json", *model))
        return _reproduce(chosen.version, [*model, *as_json], facts.get("tags", {}), Path.cwd())
    except container.FailedError as error:
        return error.code
    except ReproductionError as error:
        fix = f"\nfix: {error.fix}" if error.fix else ""
        print(f"error: {error.title}\n{error.detail}{fix}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED


def _reproduce(version: str, options: list[str], tags: Mapping[str, Any], root: Path) -> int:
    recorded = read_recorded(tags)
    place = find_code(recorded, root)
    words = ["reproduce", version, *options]
    if place is None:
        _say(f"has not the code ({_named(recorded)}); if the image has it neither:")
        print(f"          {fetch_command(root)}, and again", file=sys.stderr, flush=True)
        return container.run(words)
    with tempfile.TemporaryFile() as archive:
        write_archive(place, root, archive)
        archive.seek(0)
        where = f"commit {place.commit[:_SHORT]}" if place.commit else "its files as they are"
        _say(f"{where}, handed over to the container")
        return container.run([*words, "--code", "-"], archive)


def _named(recorded: Recorded) -> str:
    parts = (("commit", recorded.commit), ("src/ as tree", recorded.tree))
    known = [f"{what} {name[:_SHORT]}" for what, name in parts if name]
    return ", ".join(known) or "neither its commit nor its content is on record"


def _say(sentence: str) -> None:
    print(f"checkout  {sentence}", file=sys.stderr, flush=True)


def _terminate(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
