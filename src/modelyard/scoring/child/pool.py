"""The children of one model: as many as were ordered, each replaced when it ends or is worn."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from modelyard.errors import ModelRefusedError
from modelyard.scoring.child.process import ChildProcess
from modelyard.scoring.child.supervision import TOO_MANY, WINDOW_S, Deaths
from modelyard.scoring.runner import RunnerAbsentError

log = logging.getLogger(__name__)


class Attendant(Protocol):
    """Who wants to know of births and deaths; called from any thread."""

    def born(self, child: ChildProcess) -> None:
        """`child` may be asked."""

    def gone(self, child: ChildProcess) -> None:
        """`child` has ended."""

    def retired(self, child: ChildProcess) -> None:
        """`child` has a successor: it is the attendant's to end, once it answered."""

    def failed(self) -> None:
        """A successor could not be started."""


class ChildPool:
    """Keeps children. Used from any thread.

    Args:
        first: a child that is ready.
        prepare: starts another one; it is not ready yet.
        ready: makes it ready, blocking; raises ModelRefusedError.
        count: how many there shall be.
    """

    def __init__(
        self,
        first: ChildProcess,
        prepare: Callable[[], ChildProcess],
        ready: Callable[[ChildProcess], None],
        count: int,
    ) -> None:
        self._prepare = prepare
        self._ready = ready
        self._deaths = Deaths()
        self._changed = threading.Condition()
        self._children = [first]
        self._loading: set[ChildProcess] = set()
        self._worn: set[ChildProcess] = set()
        self._closing = threading.Event()
        self._attendant: Attendant | None = None
        self.on_failure: Callable[[], None] = lambda: None
        for _ in range(count - 1):
            self._start_in_thread()

    @property
    def failure(self) -> str:
        """Why the model is not fit to be served; empty while it is."""
        if not self._deaths.are_too_many:
            return ""
        return (
            f"The model's process died {self._deaths.count} times within {WINDOW_S:g} s; "
            f"{TOO_MANY} times are too many."
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is no child, and none that will be there soon."""
        return not self._children and (self._closing.is_set() or self._deaths.are_too_many)

    def attend(self, attendant: Attendant) -> list[ChildProcess]:
        """The children there are; `attendant` hears of all that come and go from now on."""
        with self._changed:
            self._attendant = attendant
            return list(self._children)

    def free(self, patience_s: float) -> ChildProcess:
        """A child that no thread asks, or any; waits for there to be one.

        Raises:
            RunnerAbsentError: there is none, and will be none soon.
        """
        ends_at = monotonic() + patience_s
        with self._changed:
            while not self._children:
                left_s = ends_at - monotonic()
                if left_s <= 0 or self.is_empty:
                    raise RunnerAbsentError("no process runs the model; it is being started again")
                self._changed.wait(left_s)
            free = (child for child in self._children if not child.is_asked)
            return next(free, self._children[0])

    def lose(self, child: ChildProcess, why: str) -> None:
        """`child` has ended, or has to be ended: it gets a successor."""
        child.end()
        with self._changed:
            if self._closing.is_set() or child not in self._children:
                return
            self._children.remove(child)
            self._deaths.record()
            has_successor = child in self._worn
            self._worn.discard(child)
            attendant = self._attendant
            self._changed.notify_all()
        log.warning("The model's process %d is lost: %s.", child.pid, why)
        if attendant is not None:
            attendant.gone(child)
        self._tell_failure()
        if not has_successor:
            self._start_in_thread(buried=child)

    def wear(self, child: ChildProcess, why: str) -> None:
        """`child` is to be replaced; it goes on until its successor is there."""
        with self._changed:
            if child in self._worn or child not in self._children:
                return
            self._worn.add(child)
        log.warning("The model's process %d is worn and gets a successor: %s.", child.pid, why)
        self._start_in_thread(worn=child)

    def close(self) -> None:
        """End every child."""
        with self._changed:
            self._closing.set()
            children, self._children = self._children, []
            loading = list(self._loading)
            attendant = self._attendant
            self._changed.notify_all()
        for child in loading:
            child.end()
        for child in children:
            child.end()
            if attendant is not None:
                attendant.gone(child)

    def _start_in_thread(
        self, worn: ChildProcess | None = None, buried: ChildProcess | None = None
    ) -> None:
        threading.Thread(
            target=self._start, args=(worn, buried), name="child-start", daemon=True
        ).start()

    def _start(self, worn: ChildProcess | None, buried: ChildProcess | None) -> None:
        """Start a child, in the place of `worn` when there is one; tries until it is closed."""
        if buried is not None:
            log.info("The model's process %d: %s.", buried.pid, buried.epitaph())
        while not self._closing.wait(self._deaths.pause_s):
            child = self._prepare()
            with self._changed:
                self._loading.add(child)
            if self._closing.is_set():
                child.end()
            try:
                self._ready(child)
            except ModelRefusedError as error:
                child.end()
                if self._closing.is_set():
                    return
                log.warning("The model's process could not be replaced: %s", error.detail)
                self._deaths.record()
                self._tell_failure()
                if self._attendant is not None:
                    self._attendant.failed()
                continue
            finally:
                with self._changed:
                    self._loading.discard(child)
            self._add(child, worn)
            return

    def _add(self, child: ChildProcess, worn: ChildProcess | None) -> None:
        with self._changed:
            if self._closing.is_set():
                child.end()
                return
            self._children.append(child)
            retired = worn if worn in self._children else None
            if retired is not None:
                self._children.remove(retired)
                self._worn.discard(retired)
            attendant = self._attendant
            self._changed.notify_all()
        log.info("The model's process %d is ready.", child.pid)
        if attendant is not None:
            attendant.born(child)
        if retired is None:
            return
        if attendant is not None:
            attendant.retired(retired)
        else:
            retired.dismiss()

    def _tell_failure(self) -> None:
        with self._changed:
            self._changed.notify_all()
        if self._deaths.are_too_many:
            self.on_failure()
