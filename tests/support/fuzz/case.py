"""A case: what one connection is sent, in which pieces, and how it ends."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import Any

from support.fuzz import grammar, mutation
from support.fuzz.message import Message

ENDS = ("eof", "eof", "eof", "eof", "eof", "slow", "slow", "abort")
"""eof: all is sent, all answers are read; slow: the reader stops reading now and then; abort: the
connection is reset in the middle."""
_EVERY_BYTE = 600


@dataclass(frozen=True)
class Case:
    """One connection.

    Attributes:
        name: the seed and the number that make it.
        stream: its bytes.
        cuts: places where the stream is cut into reads.
        end: one of `ENDS`.
        arrows: bodies that are whole Arrow streams, with the numbers of the right answer.
        schedule: chooses when the event loop runs between the pieces.
    """

    name: str
    stream: bytes
    cuts: tuple[int, ...] = ()
    end: str = "eof"
    arrows: tuple[tuple[bytes, tuple[float, ...]], ...] = ()
    schedule: int = 0

    @property
    def pieces(self) -> list[bytes]:
        """The reads."""
        places = [0, *(cut for cut in self.cuts if 0 < cut < len(self.stream)), len(self.stream)]
        return [self.stream[a:b] for a, b in pairwise(places) if a < b]

    def with_stream(self, stream: bytes) -> Case:
        """The same with other bytes."""
        return replace(self, stream=stream)

    def to_json(self) -> str:
        """For a file."""
        text = {"stream": b64encode(self.stream).decode(), "cuts": self.cuts, "end": self.end}
        text["schedule"] = self.schedule
        arrows = [[b64encode(body).decode(), numbers] for body, numbers in self.arrows]
        return json.dumps({"name": self.name, **text, "arrows": arrows})

    @classmethod
    def from_json(cls, text: str) -> Case:
        """Out of a file."""
        value: dict[str, Any] = json.loads(text)
        arrows = tuple((b64decode(body), tuple(numbers)) for body, numbers in value["arrows"])
        stream = b64decode(value["stream"])
        cuts = tuple(value["cuts"])
        return cls(value["name"], stream, cuts, value["end"], arrows, value["schedule"])


def make_case(seed: int, number: int) -> Case:
    """The case of this seed and number: always the same."""
    numbers = Random(f"{seed}/{number}")
    arrows: list[tuple[bytes, tuple[float, ...]]] = []
    texts = []
    for place in range(numbers.choice([1, 1, 1, 2, 2, 3, 4, 6])):
        message = _message(numbers, arrows)
        if numbers.random() < 0.8:
            message.heads.insert(0, (b"x-request-id", b"r%d" % place))
        if numbers.random() < 0.5:
            message.heads.insert(0, (b"host", b"server"))
        text = message.text()
        if numbers.random() < 0.04:
            text = mutation.any_bytes(text, numbers)
        texts.append(text)
    stream = b"".join(texts)
    if numbers.random() < 0.03:
        stream = mutation.any_bytes(stream, numbers)
    return Case(
        f"{seed}/{number}", stream, _cuts(stream, numbers), numbers.choice(ENDS), tuple(arrows)
    )


def _message(numbers: Random, arrows: list[tuple[bytes, tuple[float, ...]]]) -> Message:
    kinds = [b"/predict", b"/predict", b"/invocations", b"v2", "binary", "csv", "arrow", "other"]
    kind = numbers.choice(kinds)
    is_broken = numbers.random() < 0.65
    if isinstance(kind, bytes):
        make = {
            b"/predict": grammar.native_node,
            b"/invocations": grammar.layout_node,
            b"v2": grammar.inference_node,
        }[kind]
        node = (
            mutation.on_tree(make, numbers)
            if is_broken and numbers.random() < 0.7
            else make(numbers)
        )
        path = grammar.infer_path(numbers) if kind == b"v2" else kind
        message = grammar.document(path, node, numbers)
    elif kind == "arrow":
        message, answers = grammar.arrow_message(numbers)
        arrows.append((message.body, tuple(answers)))
    else:
        make_message = {
            "binary": grammar.binary_message,
            "csv": grammar.csv_message,
            "other": grammar.other_message,
        }
        message = make_message[kind](numbers)
    if is_broken and numbers.random() < 0.3:
        mutation.body(message, numbers)
    if is_broken and numbers.random() < 0.4:
        for _ in range(numbers.choice([1, 1, 2])):
            mutation.http(message, numbers)
    return message


def _cuts(stream: bytes, numbers: Random) -> tuple[int, ...]:
    """Where the stream is cut: mostly nowhere, at a few places, or at every byte."""
    chance = numbers.random()
    if chance < 0.5 or len(stream) < 2:
        return ()
    if chance > 0.95 and len(stream) <= _EVERY_BYTE:
        return tuple(range(1, len(stream)))
    most = min(len(stream) - 1, numbers.choice([1, 1, 2, 3, 8]))
    return tuple(sorted(numbers.sample(range(1, len(stream)), most)))
