"""One child, seen from the server: started, asked, ended."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from modelyard.errors import ModelNotLoadedError, ModelRefusedError
from modelyard.scoring.child import confined, wire
from modelyard.scoring.child.confinement import Confinement
from modelyard.scoring.child.environment import child_environment
from modelyard.scoring.child.last_words import LastWords
from modelyard.scoring.child.oversight import OVERSIGHT, Budget, Overseen
from modelyard.scoring.child.scratch import Scratch
from modelyard.scoring.runner import Predictions, RunnerError, RunnerLostError

log = logging.getLogger(__name__)

_WORKER = "modelyard.scoring.child.worker"
_HELD_IN_A_CALL = 5  # quarters of its memory: what it holds after a call decides whether it goes on


@dataclass(frozen=True)
class ChildLimits:
    """What a child may take.

    Args:
        memory_bytes: what it may hold; 0 for no limit.
        start_s: seconds until it has loaded its model.
        is_confined: whether it may reach no more than it needs.
        network: whether it may reach addresses all the same.
    """

    memory_bytes: int
    start_s: float
    is_confined: bool = True
    network: bool = False


class ChildProcess:
    """A process that runs one model. `ask` is for threads; the event loop asks at `front`."""

    def __init__(self, limits: ChildLimits, folder: Path) -> None:
        """Start it for the version in `folder`; it has loaded nothing yet."""
        self.front, front = socket.socketpair()
        self._back, back = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        self._start_s = limits.start_s
        self._lock = threading.Lock()
        self._ending = threading.Lock()
        self.is_ended = False
        self._excess = ""
        self._scratch = scratch = Scratch()
        numbers = (front.fileno(), back.fileno(), lifeline)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                confined.command(
                    _confinement(limits, folder, scratch.path),
                    *(_WORKER, *map(str, (*numbers, limits.memory_bytes))),
                ),
                env=child_environment(os.fspath(scratch.path)),
                cwd=scratch.path,
                bufsize=0,
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its own group: processes that it starts end with it
            )
        except BaseException:
            scratch.remove()
            raise
        finally:
            front.close()
            back.close()
            os.close(lifeline)
        assert self._process.stdout is not None
        self._output = LastWords(self._process.stdout)
        budget = Budget(_HELD_IN_A_CALL * limits.memory_bytes // 4)
        OVERSIGHT.begin(Overseen(self.pid, budget, scratch, self._end_over))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_asked(self) -> bool:
        """Whether a thread is waiting for its answer."""
        return self._lock.locked()

    def load(self, folder: Path) -> wire.Loaded:
        """Load the version whose files are in `folder`.

        Raises:
            ModelRefusedError: it cannot, died over it, or takes too long.
        """
        message = self._prepare(wire.Load(os.fspath(folder)))
        if not isinstance(message, wire.Loaded):
            raise _load_error("The model could not be loaded", message)
        return message

    def load_graph(self, path: Path) -> wire.GraphLoaded:
        """Open the ONNX graph at `path`; raises ModelRefusedError like `load`."""
        message = self._prepare(wire.LoadGraph(os.fspath(path)))
        if not isinstance(message, wire.GraphLoaded):
            raise _load_error("The graph could not be opened", message)
        return message

    def bind(self, bind: wire.Bind | wire.BindGraph) -> None:
        """Tell it which columns to expect; raises ModelRefusedError like `load`."""
        message = self._prepare(bind)
        if not isinstance(message, wire.Bound):
            raise _load_error("The model cannot be asked", message)

    def ask(self, question: wire.Ask, limit_s: float) -> wire.Answer:
        """The answer to `question`, blocking; one thread after the other.

        Raises:
            RunnerError: the model raised.
            RunnerLostError: the child ended over it, or gave no answer within `limit_s`.
        """
        with self._lock:
            try:
                message = self._talk(question, limit_s)
            except TimeoutError as error:
                self.end()
                raise RunnerLostError(f"it gave no answer within {limit_s:g} s") from error
            except (OSError, wire.WireError) as error:
                self.end()
                raise RunnerLostError(self.end_reason()) from error
        return answer_or_raise(message)

    def end(self) -> None:
        """Kill it, and all processes that it started; may be called again, from any thread."""
        with self._ending:
            if self.is_ended:
                return
            self.is_ended = True
        OVERSIGHT.stop(self.pid)
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(OSError):  # wakes a thread that is waiting for an answer
            self._back.shutdown(socket.SHUT_RDWR)
        os.close(self._lifeline)
        threading.Thread(target=self._reap, name="child-end", daemon=True).start()

    def dismiss(self) -> None:
        """End it once the thread that is asking it, if any, has its answer."""

        def wait_and_end() -> None:
            with self._lock:
                self.end()

        threading.Thread(target=wait_and_end, name="child-dismiss", daemon=True).start()

    def end_reason(self) -> str:
        """How it ended; logs the last lines that it wrote."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        if words := str(self._output):
            log.warning("The model's process %d wrote: %s", self.pid, words)
        return self._excess or ending(code)

    def _end_over(self, excess: str) -> None:
        self._excess = f"it was ended: {excess}"
        log.warning("The model's process %d %s.", self.pid, self._excess.removeprefix("it "))
        self.end()

    def _reap(self) -> None:
        self._process.wait()
        with self._lock:
            self._back.close()
        self._scratch.remove()

    def _prepare(self, message: wire.ToChild) -> wire.FromChild:
        try:
            return self._talk(message, self._start_s)
        except TimeoutError as error:
            raise ModelNotLoadedError(
                f"The model was not loaded within {self._start_s:g} s.",
                fix="If it needs longer, raise SERVING_CHILD_START_TIMEOUT_S.",
            ) from error
        except (OSError, wire.WireError) as error:
            raise ModelNotLoadedError(
                f"The process that loads the model died: {self.end_reason()}.", fix=_MEMORY_FIX
            ) from error

    def _talk(self, message: wire.ToChild, limit_s: float) -> wire.FromChild:
        """Send `message` and return the answer; raises TimeoutError, OSError or WireError."""
        end = _DeadlineSocket(self._back, monotonic() + limit_s)
        end.sendall(wire.frame(message))
        body = wire.receive(end)
        if body is None:
            raise ConnectionError
        return wire.parse_from_child(body)


class _DeadlineSocket:
    """A socket with one deadline for all calls: TimeoutError, however slowly bytes arrive."""

    def __init__(self, end: socket.socket, ends_at: float) -> None:
        self._end = end
        self._ends_at = ends_at

    def sendall(self, data: bytes) -> None:
        self._set_timeout()
        self._end.sendall(data)

    def recv_into(self, buffer: memoryview) -> int:
        self._set_timeout()
        return self._end.recv_into(buffer)

    def _set_timeout(self) -> None:
        left_s = self._ends_at - monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._end.settimeout(left_s)


def answer_or_raise(message: wire.FromChild) -> wire.Answer:
    """`message` when it is an answer; raises RunnerError when the model raised."""
    if isinstance(message, wire.Answer):
        return message
    if isinstance(message, wire.Failed) and message.is_fatal:
        raise RunnerLostError(message.message)
    raise RunnerError(_reason(message))


def predictions(answer: wire.Answer) -> Predictions:
    """The numbers in `answer`; raises RunnerError when there are none."""
    try:
        return wire.predictions_of(answer)
    except wire.WireError as error:
        raise RunnerError(str(error)) from error


def _confinement(limits: ChildLimits, folder: Path, scratch: Path) -> str:
    """As the command takes it."""
    if not limits.is_confined:
        return confined.OPEN
    own = os.fspath(scratch.resolve())
    return Confinement(os.fspath(folder.resolve()), own, limits.network).to_json()


_MEMORY_FIX = "If it needs more memory, raise SERVING_CHILD_MEMORY_MB."


def _reason(message: wire.FromChild) -> str:
    return message.message if isinstance(message, wire.Failed) else "it answered something else"


def _load_error(what: str, message: wire.FromChild) -> ModelRefusedError:
    reason = _reason(message)
    detail = f"{what}: {reason}"
    if reason.startswith("MemoryError"):
        return ModelNotLoadedError(detail, fix=_MEMORY_FIX)
    if reason.startswith("ModuleNotFoundError"):
        return ModelRefusedError(
            detail,
            fix="The package is not installed where the model runs: build the serving image with "
            "SERVING_TARGET=pyfunc or torch, or add the package to the `serve` group of "
            "pyproject.toml.",
        )
    return ModelRefusedError(detail)


def ending(code: int) -> str:
    """How a process with the exit code `code` ended."""
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"its process was ended by {name}"
