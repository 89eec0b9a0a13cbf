"""`make rollout`: build, start the new beside the old, wait until they are ready, drain the old.

Exit codes: 0 done; 1 the new replicas did not become ready, and the old ones serve; 2 the update
could not be made; 130 and 143 interrupted.
"""

# ruff: noqa: T201 - it talks to a terminal

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from modelyard.host.rollout import replicas as compose
from modelyard.host.rollout.places import read_places
from modelyard.host.rollout.replicas import SERVICE, DockerError, Wanted
from modelyard.host.rollout.update import RejectedError, Update

GATEWAY = Path("configs/gateway/haproxy.cfg")
_TIMEOUT_S = 120.0
_INTERRUPTED = 130


class Refused(Exception):  # noqa: N818 - it is an answer
    """The update cannot be made; the sentence says why, and what mends it."""


def lock_path(project: str) -> Path:
    """The file whose lock a rollout of the project holds."""
    return Path(tempfile.gettempdir()) / f"modelyard-rollout-{project}-{os.getuid()}.lock"


def main(argv: Sequence[str] | None = None) -> int:
    """Update; prints a line a step."""
    parser = argparse.ArgumentParser(prog="make rollout", description=__doc__)
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
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return _update(not chosen.no_build, chosen.timeout, chosen.places)
    except (DockerError, Refused) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _interrupted(_INTERRUPTED)
    except SystemExit as stop:
        return _interrupted(int(stop.code or 0))


def _update(build: bool, timeout_s: float, places: int) -> int:
    wanted = compose.read_wanted()
    _check(wanted, places)
    before = wanted.image_id
    will_build = build and wanted.can_build
    with _alone(wanted.project), _kept(wanted.image, before if will_build else ""):
        if will_build:
            compose.build()
            wanted = compose.read_wanted()
        if not wanted.image_id:
            compose.pull()
            wanted = compose.read_wanted()
        if not wanted.image_id:
            raise Refused(
                f"there is no image {wanted.image}: leave out --no-build, or name another"
            )
        began = time.monotonic()
        _say("wanted", f"{wanted.replicas} x {wanted.image} ({_short(wanted.image_id)})")
        try:
            changed = Update(wanted, places, timeout_s, _say).run()
        except RejectedError as error:
            _explain(error, wanted, before)
            return 1
        if changed:
            _say("done", f"{wanted.replicas} replicas in {time.monotonic() - began:.0f} s")
        else:
            _say("done", f"nothing to do: the {wanted.replicas} replicas are what is wanted")
        return 0


def _check(wanted: Wanted, places: int) -> None:
    if not 1 <= wanted.replicas <= places:
        raise Refused(
            f"SERVING_REPLICAS is {wanted.replicas}: expected 1 to {places}, the places that the "
            f"gateway has.\nMore: raise 1-{places} in every `server-template … {SERVICE}:` line of "
            f"{GATEWAY}, then docker compose restart gateway."
        )


def _explain(error: RejectedError, wanted: Wanted, before: str) -> None:
    lines = [f"went back: {error}. The last lines of its log:"]
    lines += [f"    {line}" for line in error.log] or ["    (nothing)"]
    if before and before != wanted.image_id:
        compose.name_image(wanted.image, before)
        lines.append(
            f"{wanted.image} is {_short(before)} again, as before the build; the refused image is "
            f"{_short(wanted.image_id)}."
        )
    else:
        lines.append(
            "`docker compose up -d` would start it again, in the old ones' place: mend it, or take "
            "the change of SERVING_IMAGE or of the settings back, before."
        )
    print("\n".join(lines), file=sys.stderr)


@contextmanager
def _alone(project: str) -> Iterator[None]:
    """One update of a project at a time; the lock goes with the process, however it ends."""
    with lock_path(project).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"another rollout of {project} is under way") from None
        yield


@contextmanager
def _kept(image: str, image_id: str) -> Iterator[None]:
    """Under another name meanwhile: an image without a name may be gone when a build takes its."""
    name = f"{image}-before"
    if image_id:
        compose.name_image(name, image_id)
    try:
        yield
    finally:
        if image_id:
            compose.forget_image(name)


def _interrupted(code: int) -> int:
    print(
        "interrupted: old and new replicas may run beside each other, and those that are ready get "
        "requests.\n`make rollout` goes on from here; with the change taken back it goes back.",
        file=sys.stderr,
    )
    return code


def _terminate(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _say(word: str, sentence: str) -> None:
    print(f"{word:<9} {sentence}", flush=True)


def _short(image_id: str) -> str:
    return image_id.replace("sha256:", "")[:12]


if __name__ == "__main__":
    sys.exit(main())
