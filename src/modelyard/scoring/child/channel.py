"""The event loop's connection to a child: one question at a time, and no thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from modelyard.scoring.child import wire
from modelyard.scoring.child.process import ChildProcess, answer_or_raise
from modelyard.scoring.runner import RunnerError, RunnerLostError

_READ_BYTES = 2**16

AnswerCallback = Callable[[wire.Answer | RunnerError], None]


class Channel:
    """Asks `child`. Used from the event loop's thread only.

    Args:
        child: the process to ask.
        on_idle: called when the child may be asked again, before the last answer is handed on.
        on_lost: called once with the reason when the child has ended or has to be ended.
    """

    def __init__(
        self,
        child: ChildProcess,
        on_idle: Callable[[], None],
        on_lost: Callable[[ChildProcess, str], None],
    ) -> None:
        self._child = child
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._end = child.front
        self._end.settimeout(0)
        self._number = self._end.fileno()
        self._done: AnswerCallback | None = None
        self._unsent = memoryview(b"")
        self._received = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._is_writing = False
        self._is_retiring = False
        self._is_closed = False
        self._loop.add_reader(self._number, self._receive)

    @property
    def is_idle(self) -> bool:
        """Whether the child may be asked."""
        return self._done is None and not self._is_retiring and not self._is_closed

    def ask(self, question: wire.Ask, limit_s: float, done: AnswerCallback) -> None:
        """Ask the idle child; `done` gets what it answers, within `limit_s` seconds."""
        self._unsent = memoryview(wire.frame(question))  # before anything waits: it may raise
        self._done = done
        self._timer = self._loop.call_later(limit_s, self._overdue, limit_s)
        self._send()

    def retire(self) -> None:
        """End the child as soon as it has answered what it was asked."""
        self._is_retiring = True
        if self._done is None:
            self._close()
            self._child.dismiss()

    def close(self) -> None:
        """Close the socket; a pending question is answered with `RunnerLostError`."""
        self._lose("it was ended")

    def _send(self) -> None:
        """Send what the socket takes; the rest when it takes more."""
        whole = len(self._unsent)
        try:
            sent = self._end.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lose("it is gone")
            return
        self._unsent = self._unsent[sent:]
        if sent < whole:
            self._loop.add_writer(self._number, self._send)
            self._is_writing = True
        elif self._is_writing:
            self._loop.remove_writer(self._number)
            self._is_writing = False

    def _receive(self) -> None:
        try:
            data = self._end.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose("it is gone")
            return
        self._received += data
        try:
            message = self._take_message()
        except wire.WireError:
            self._lose("it sent a malformed message")
        else:
            if message is not None:
                self._answered(message)

    def _take_message(self) -> wire.FromChild | None:
        """The message received, once it is complete."""
        if len(self._received) < wire.HEAD_BYTES:
            return None
        size = wire.HEAD_BYTES + wire.body_bytes(self._received[: wire.HEAD_BYTES])
        if len(self._received) < size:
            return None
        if len(self._received) > size or self._done is None:
            raise wire.WireError("an answer to no question")
        message = wire.parse_from_child(self._received[wire.HEAD_BYTES :])
        self._received.clear()
        return message

    def _answered(self, message: wire.FromChild) -> None:
        answer: wire.Answer | RunnerError
        try:
            answer = answer_or_raise(message)
        except RunnerLostError as error:
            self._lose(str(error))
            return
        except RunnerError as error:
            answer = error
        done = self._take_done()
        if self._is_retiring:
            self.retire()
        else:
            self._on_idle()
        if done is not None:
            done(answer)

    def _overdue(self, limit_s: float) -> None:
        if self._child.is_asked:  # a thread's large batch comes first, with a limit of its own
            self._timer = self._loop.call_later(limit_s, self._overdue, limit_s)
        else:
            self._lose(f"it gave no answer within {limit_s:g} s")

    def _lose(self, why: str) -> None:
        if self._is_closed:
            return
        self._close()
        done = self._take_done()
        self._child.end()
        if not self._is_retiring:
            self._on_lost(self._child, why)
        if done is not None:
            done(RunnerLostError(why))

    def _take_done(self) -> AnswerCallback | None:
        done, self._done = self._done, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return done

    def _close(self) -> None:
        self._is_closed = True
        self._loop.remove_reader(self._number)
        self._loop.remove_writer(self._number)
        self._end.close()
