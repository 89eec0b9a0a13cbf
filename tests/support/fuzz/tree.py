"""JSON as a tree that can be broken: keys may stand twice, and a leaf may be any text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any


@dataclass
class Raw:
    """Text that is written as it is."""

    text: str


class Pair(list[Any]):
    """A key, or `Raw`, and a value."""


class Pairs(list[Pair]):
    """An object."""


def tree(value: Any) -> Any:
    """`value` with its objects as `Pairs`."""
    if isinstance(value, dict):
        return Pairs(Pair([name, tree(inner)]) for name, inner in value.items())
    return [tree(inner) for inner in value] if isinstance(value, list) else value


def write(node: Any, *, tight: bool, ascii_only: bool) -> str:
    """The text of a tree."""
    comma, colon = (",", ":") if tight else (", ", ": ")

    def text(inner: Any) -> str:
        if isinstance(inner, Raw):
            return inner.text
        if isinstance(inner, Pairs):
            return "{" + comma.join(f"{text(k)}{colon}{text(v)}" for k, v in inner) + "}"
        if isinstance(inner, list):
            return "[" + comma.join(map(text, inner)) + "]"
        return json.dumps(inner, ensure_ascii=ascii_only)

    return text(node)


def places(node: Any) -> Iterator[tuple[list[Any], int]]:
    """Every place of a value: the container, and the index in it."""
    if isinstance(node, Pairs):
        for pair in node:
            yield pair, 1
            yield from places(pair[1])
    elif isinstance(node, list):
        for index, inner in enumerate(node):
            yield node, index
            yield from places(inner)


def objects(node: Any) -> list[Pairs]:
    """Every object in the tree."""
    inner = [pair[1] for pair in node] if isinstance(node, Pairs) else node
    mine = [node] if isinstance(node, Pairs) else []
    found = [objects(value) for value in inner] if isinstance(node, list) else []
    return mine + [one for some in found for one in some]


def escaped(key: str, numbers: Random) -> Raw:
    """The same key, one letter of it spelled as an escape."""
    if not key:
        return Raw('""')
    at = numbers.randrange(len(key))
    before, after = json.dumps(key[:at])[:-1], json.dumps(key[at + 1 :])[1:]
    return Raw(f"{before}\\u{ord(key[at]) & 0xFFFF:04x}{after}")
