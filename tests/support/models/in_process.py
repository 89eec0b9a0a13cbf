"""A child's worker in this process: the same messages, without the second that a process takes."""

from __future__ import annotations

from pathlib import Path

from modelyard.errors import ModelRefusedError
from modelyard.scoring.child import wire
from modelyard.scoring.child.process import ChildLimits
from modelyard.scoring.child.worker import Worker
from modelyard.scoring.runner import RunnerError


class WorkerInProcess:
    """What a pool asks of `ChildProcess`; every message goes through its own bytes."""

    pid = 0
    is_asked = is_ended = False

    def __init__(self, limits: ChildLimits, _folder: Path) -> None:
        self._worker = Worker(limits.memory_bytes)

    def load(self, folder: Path) -> wire.Loaded:
        message = self._talk(wire.Load(str(folder)))
        if not isinstance(message, wire.Loaded):
            raise ModelRefusedError(str(message))
        return message

    def bind(self, bind: wire.Bind) -> None:
        message = self._talk(bind)
        if not isinstance(message, wire.Bound):
            raise ModelRefusedError(str(message))

    def ask(self, question: wire.Ask, _limit_s: float) -> wire.Answer:
        message = self._talk(question)
        if isinstance(message, wire.Failed):
            raise RunnerError(message.message)
        assert isinstance(message, wire.Answer)
        return message

    def end(self) -> None:
        self.is_ended = True

    def _talk(self, message: wire.ToChild) -> wire.FromChild:
        head = wire.HEAD_BYTES
        asked = wire.parse_to_child(wire.frame(message)[head:])
        return wire.parse_from_child(wire.frame(self._worker.handle(asked))[head:])
