"""Turns: whoever moves an alias moves it alone, and what a move is for outlives its command.

MLflow has neither a lock nor a compare-and-set. Its tags can be written one by one and read all at
once, which is what Lamport's bakery needs: each command draws a ticket with a number above all that
it sees, and waits for those before it. A ticket is a tag of the registered model, and is removed
when the turn ends. One whose command died stays: after `LEASE_S` without a change others remove it,
and learn from it which move was under way.

Moves by other tools, MLflow's UI for example, take no turn: `moves.py` puts them on record as such.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

from modelyard.errors import RegistryError
from modelyard.registry.client import RegistryClient
from modelyard.registry.moves import AliasMove, read_move
from modelyard.registry.records import RegisteredModel

_TAG = "modelyard.turn"
LEASE_S = 15.0
"""Longer than the two requests take that move an alias and record it, by their time-outs."""

_BEAT_S = 3.0
_PAUSE_S = 0.05
_PATIENCE_S = 300.0


@dataclass(frozen=True)
class _Ticket:
    key: str
    number: int
    move: AliasMove | None


class Turn:
    """The turn of one command, as a context: entering it waits.

    Attributes:
        model: the registered model as it was when the turn began.
        left: moves that commands which died had begun.
    """

    model: RegisteredModel

    def __init__(self, registry: RegistryClient, name: str, alias: str) -> None:
        self._registry = registry
        self._name = name
        self._prefix = f"{_TAG}.{alias}."
        self._key = f"{self._prefix}{secrets.token_hex(6)}"
        self._number = 0
        self._beat = 0
        self.left: list[AliasMove] = []
        self._is_kept = False

    def __enter__(self) -> Self:
        """Wait for those who came first.

        Raises:
            RegistryError: the registry refused, or they took minutes.
        """
        try:
            self._draw()
            self._wait()
        except BaseException:
            self._give_back()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if not self._is_kept:
            self._give_back()

    def begin(self, move: AliasMove) -> None:
        """Say which move is made now, for the case that this command does not live to record it."""
        self._write(move)

    def keep(self) -> None:
        """Leave the ticket: the move is done and could not be recorded."""
        self._is_kept = True

    def _draw(self) -> None:
        self._number = 0
        self._write()
        self._number = 1 + max((t.number for t in self._tickets(self._read())), default=0)
        self._write()

    def _wait(self) -> None:
        seen: dict[str, tuple[str, float]] = {}
        gives_up_at, beats_at = monotonic() + _PATIENCE_S, monotonic() + _BEAT_S
        while True:
            self.model = self._read()
            if self._key not in self.model.tags:  # others held this command for dead
                self._draw()
                continue
            now, mine = monotonic(), (self._number, self._key)
            before = [
                ticket
                for ticket in self._tickets(self.model)
                if ticket.key != self._key
                and (ticket.number == 0 or (ticket.number, ticket.key) < mine)
            ]
            waiting = False
            for ticket in before:
                text = self.model.tags[ticket.key]
                known, since = seen.get(ticket.key, ("", now))
                if text != known:
                    since = now
                    seen[ticket.key] = (text, now)
                if now - since < LEASE_S:
                    waiting = True
                else:
                    self._registry.delete_model_tag(self._name, ticket.key)
                    self.left += [ticket.move] if ticket.move else []
            if not waiting:
                return
            if now > gives_up_at:
                raise RegistryError(
                    f"{len(before)} other commands are moving an alias of {self._name}.",
                    fix="Look at `modelyard history`, and try again.",
                )
            if now > beats_at:
                beats_at = now + _BEAT_S
                self._write()
            sleep(_PAUSE_S)

    def _read(self) -> RegisteredModel:
        return self._registry.registered_model(self._name)

    def _write(self, move: AliasMove | None = None) -> None:
        self._beat += 1
        content: dict[str, Any] = {"number": self._number, "beat": self._beat}
        if move is not None:
            content["move"] = asdict(move.shortened())
        text = json.dumps(content, ensure_ascii=False)
        self._registry.set_model_tag(self._name, self._key, text)

    def _give_back(self) -> None:
        with suppress(RegistryError):  # the lease ends it
            self._registry.delete_model_tag(self._name, self._key)

    def _tickets(self, model: RegisteredModel) -> list[_Ticket]:
        return [
            _ticket(key, text) for key, text in model.tags.items() if key.startswith(self._prefix)
        ]


def _ticket(key: str, text: str) -> _Ticket:
    """A ticket as it was read; one that says nothing is waited for like any other."""
    number, move = 0, None
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        content: Mapping[str, Any] = json.loads(text)
        number = max(0, int(content["number"]))
        if "move" in content:
            move = read_move(json.dumps(content["move"]))
    return _Ticket(key, number, move)
