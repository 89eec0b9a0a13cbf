"""The children of one model: a fixed number, each replaced when it ends or fills its memory."""

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


class PoolListener(Protocol):
    """Told when children start and end; called from any thread."""

    def child_started(self, child: ChildProcess) -> None:
        """`child` may be asked."""

    def child_ended(self, child: ChildProcess) -> None:
        """`child` has ended."""

    def child_replaced(self, child: ChildProcess) -> None:
        """`child` has a replacement: the listener ends it, once it has answered."""

    def failed(self) -> None:
        """A replacement could not be started."""


class ChildPool:
    """Keeps children. Used from any thread.

    Args:
        first: a child that is ready.
        prepare: starts another one, which has loaded nothing yet.
        ready: lets it load the model, blocking; raises ModelRefusedError.
        count: how many to keep.
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
        self._outgoing: set[ChildProcess] = set()
        self._closing = threading.Event()
        self._listener: PoolListener | None = None
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
        """Whether there is no child, and none is being started."""
        return not self._children and (self._closing.is_set() or self._deaths.are_too_many)

    def subscribe(self, listener: PoolListener) -> list[ChildProcess]:
        """The children there are; `listener` is told of every later change."""
        with self._changed:
            self._listener = listener
            return list(self._children)

    def free(self, patience_s: float) -> ChildProcess:
        """A child that no thread is asking, else any; waits up to `patience_s` for one.

        Raises:
            RunnerAbsentError: there is none, and none is being started.
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
        """End `child`, if it has not ended, and start its replacement."""
        child.end()
        with self._changed:
            if self._closing.is_set() or child not in self._children:
                return
            self._children.remove(child)
            self._deaths.record()
            has_replacement = child in self._outgoing
            self._outgoing.discard(child)
            listener = self._listener
            self._changed.notify_all()
        log.warning("The model's process %d is lost: %s.", child.pid, why)
        if listener is not None:
            listener.child_ended(child)
        self._tell_failure()
        if not has_replacement:
            self._start_in_thread(ended=child)

    def replace_child(self, child: ChildProcess, why: str) -> None:
        """Start a replacement for `child`, which goes on until it is ready."""
        with self._changed:
            if child in self._outgoing or child not in self._children:
                return
            self._outgoing.add(child)
        log.warning("The model's process %d is being replaced: %s.", child.pid, why)
        self._start_in_thread(outgoing=child)

    def close(self) -> None:
        """End every child."""
        with self._changed:
            self._closing.set()
            children, self._children = self._children, []
            loading = list(self._loading)
            listener = self._listener
            self._changed.notify_all()
        for child in loading:
            child.end()
        for child in children:
            child.end()
            if listener is not None:
                listener.child_ended(child)

    def _start_in_thread(
        self, outgoing: ChildProcess | None = None, ended: ChildProcess | None = None
    ) -> None:
        threading.Thread(
            target=self._start, args=(outgoing, ended), name="child-start", daemon=True
        ).start()

    def _start(self, outgoing: ChildProcess | None, ended: ChildProcess | None) -> None:
        """Start a child, in the place of `outgoing` if given; tries until the pool is closed."""
        if ended is not None:
            log.info("The model's process %d: %s.", ended.pid, ended.end_reason())
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
                if self._listener is not None:
                    self._listener.failed()
                continue
            finally:
                with self._changed:
                    self._loading.discard(child)
            self._add(child, outgoing)
            return

    def _add(self, child: ChildProcess, outgoing: ChildProcess | None) -> None:
        with self._changed:
            if self._closing.is_set():
                child.end()
                return
            self._children.append(child)
            retired = outgoing if outgoing in self._children else None
            if retired is not None:
                self._children.remove(retired)
                self._outgoing.discard(retired)
            listener = self._listener
            self._changed.notify_all()
        log.info("The model's process %d is ready.", child.pid)
        if listener is not None:
            listener.child_started(child)
        if retired is None:
            return
        if listener is not None:
            listener.child_replaced(retired)
        else:
            retired.dismiss()

    def _tell_failure(self) -> None:
        with self._changed:
            self._changed.notify_all()
        if self._deaths.are_too_many:
            self.on_failure()
