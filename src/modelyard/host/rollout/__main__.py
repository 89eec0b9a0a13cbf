"""`make rollout`: build, start the new beside the old, wait until they are ready, drain the old."""

# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from modelyard.errors import ExitCode, ModelyardError
from modelyard.host.rollout import replicas
from modelyard.host.rollout.places import read_places
from modelyard.host.rollout.replicas import SERVICE
from modelyard.host.rollout.update import RejectedError, Update
from modelyard.program import run_command

GATEWAY = Path("configs/gateway/haproxy.cfg")
_TIMEOUT_S = 120.0


class RolloutError(ModelyardError):
    """The rollout cannot be made, and nothing was changed."""

    title = "The rollout cannot be made"
    exit_code = ExitCode.CONFIGURATION


def lock_path(project: str) -> Path:
    """The file whose lock a rollout of the project holds."""
    return Path(tempfile.gettempdir()) / f"modelyard-rollout-{project}-{os.getuid()}.lock"


def main(argv: Sequence[str] | None = None) -> int:
    """Roll out; prints a line a step."""
    parser = argparse.ArgumentParser(
        prog="make rollout",
        description=__doc__,
        epilog="Exit codes are in docs/registry.md: 1 the new replicas did not become ready, and "
        "the old ones serve; 2 the rollout cannot be made.",
    )
    parser.add_argument(
        "--no-build", action="store_true", help="take the image as it is, do not build it"
    )
    parser.add_argument(
        "--timeout", type=float, default=_TIMEOUT_S, help="seconds to become ready in"
    )
    parser.add_argument(
        "--places",
        type=int,
        default=read_places(GATEWAY),
        help="replicas that run at once at most, old and new; the gateway's places by default",
    )
    chosen = parser.parse_args(argv)
    try:
        roll_out(chosen.timeout, chosen.places, build=not chosen.no_build)
    except (KeyboardInterrupt, SystemExit):
        print(
            "interrupted: old and new replicas may run beside each other, and those that are ready "
            "get requests.\n`make rollout` goes on from here; with the change taken back it goes "
            "back.",
            file=sys.stderr,
        )
        raise
    return ExitCode.DONE


def roll_out(timeout_s: float, places: int, *, build: bool) -> None:
    """Make every replica what the Compose files and the environment say.

    Args:
        timeout_s: within it, replicas that are started together have to be ready.
        places: how many replicas the gateway can know at once, old and new together.
        build: build the image first, where the service has a build.

    Raises:
        RolloutError: the settings do not allow it, or another one is under way.
        RejectedError: the new replicas were not ready in time; the old ones serve.
        DockerError: a docker command failed.
    """
    spec = replicas.read_spec()
    if not 1 <= spec.replicas <= places:
        raise RolloutError(
            f"SERVING_REPLICAS is {spec.replicas}: expected 1 to {places}, the places that the "
            "gateway has.",
            fix=f"More: raise 1-{places} in every `server-template … {SERVICE}:` line of "
            f"{GATEWAY}, then docker compose restart gateway.",
        )
    before = spec.image_id
    will_build = build and spec.can_build
    with _locked(spec.project), _named(f"{spec.image}-before", before if will_build else ""):
        if will_build:
            replicas.build_image()
            spec = replicas.read_spec()
        if not spec.image_id:
            replicas.pull_image()
            spec = replicas.read_spec()
        if not spec.image_id:
            raise RolloutError(
                f"There is no image {spec.image}, neither here nor to pull.",
                fix="Leave out --no-build, or name another: SERVING_IMAGE.",
            )
        began = time.monotonic()
        _print_step("wanted", f"{spec.replicas} x {spec.image} ({_short(spec.image_id)})")
        try:
            has_changed = Update(spec, places, timeout_s, _print_step).run()
        except RejectedError as error:
            if not before or before == spec.image_id:
                raise
            replicas.name_image(spec.image, before)
            raise RejectedError(
                f"{error.detail}\n{spec.image} is {_short(before)} again, as before the build; the "
                f"refused image is {_short(spec.image_id)}.",
                fix="Correct what the log names, then make rollout.",
            ) from error
        if has_changed:
            _print_step("done", f"{spec.replicas} replicas in {time.monotonic() - began:.0f} s")
        else:
            _print_step("done", f"nothing to do: the {spec.replicas} replicas are as wanted")


@contextmanager
def _locked(project: str) -> Iterator[None]:
    """One rollout of a project at a time; the lock goes with the process, however it ends."""
    with lock_path(project).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RolloutError(
                f"Another rollout of {project} is under way.", fix="Wait until it ends."
            ) from None
        yield


@contextmanager
def _named(name: str, image_id: str) -> Iterator[None]:
    """Give an image another name meanwhile: once a build has taken its own, it may be removed."""
    if image_id:
        replicas.name_image(name, image_id)
    try:
        yield
    finally:
        if image_id:
            replicas.forget_image(name)


def _print_step(word: str, sentence: str) -> None:
    print(f"{word:<9} {sentence}", flush=True)


def _short(image_id: str) -> str:
    return image_id.replace("sha256:", "")[:12]


if __name__ == "__main__":
    sys.exit(run_command(main))
