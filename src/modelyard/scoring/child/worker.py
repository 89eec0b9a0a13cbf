"""A child's main loop: it loads one model and answers questions until the server closes.

`confined.py … modelyard.scoring.child.worker FRONT BACK LIFELINE MEMORY_BYTES`: file numbers of two
sockets and a pipe. The event loop asks at the front, threads with large batches ask at the back;
one question is answered after the other.
"""

from __future__ import annotations

import faulthandler
import gc
import select
import signal
import socket
import sys
from pathlib import Path

from modelyard.errors import ModelyardError
from modelyard.scoring.child import wire
from modelyard.scoring.child.graph import GraphModel
from modelyard.scoring.child.guard import die_with_server, limit_memory, resident_bytes
from modelyard.scoring.child.model import ChildModel

_LONGEST_MESSAGE = 400


class Worker:
    """Answers the messages of one server, within `memory_bytes`; 0 is no limit."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._model: ChildModel | GraphModel | None = None

    def handle(self, message: wire.ToChild) -> wire.FromChild:
        """The answer to `message`; an exception of the model is an answer too."""
        try:
            return self._answer(message)
        except MemoryError:
            return wire.Failed("MemoryError: the child's memory limit is reached", is_fatal=True)
        except ModelyardError as error:
            return wire.Failed(error.detail[:_LONGEST_MESSAGE])
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a model is a failed answer
            lines = str(error).strip().splitlines()
            text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
            return wire.Failed(text[:_LONGEST_MESSAGE])

    def _answer(self, message: wire.ToChild) -> wire.FromChild:
        if isinstance(message, wire.Load):
            self._model = model = ChildModel(Path(message.folder))
            return wire.Loaded(model.description, model.classes, model.only_labels, model.samples)
        if isinstance(message, wire.LoadGraph):
            self._model = graph = GraphModel(Path(message.path))
            return graph.loaded()
        if self._model is None:
            return wire.Failed("no model is loaded", is_fatal=True)
        if isinstance(message, wire.Bind | wire.BindGraph):
            self._model.bind(message)  # type: ignore[arg-type]  # each gets its own
            # what is loaded stays: collecting garbage must not walk through it at each turn
            gc.collect()
            gc.freeze()
            if 0 < self._memory_bytes < resident_bytes():
                raise MemoryError
            return wire.Bound()
        predictions = self._model.predict(wire.columns_of(message), message.rows)
        return wire.answer(predictions, resident_bytes())


def serve(worker: Worker, ends: list[socket.socket]) -> None:
    """Answer questions from each of `ends`, until the server closes one of them."""
    poll = select.poll()
    by_number = {end.fileno(): end for end in ends}
    for number in by_number:
        poll.register(number, select.POLLIN)
    while True:
        for number, _ in poll.poll():
            body = wire.receive(by_number[number])
            if body is None:
                return
            by_number[number].sendall(wire.frame(worker.handle(wire.parse_to_child(body))))


def main(arguments: list[str]) -> int:
    """Guard, then serve."""
    front, back, lifeline, memory_bytes = map(int, arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    die_with_server(lifeline)
    limit_memory(memory_bytes)
    serve(Worker(memory_bytes), [socket.socket(fileno=front), socket.socket(fileno=back)])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
