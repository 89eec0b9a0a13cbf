"""Ways to break a request: its values, its structure, its bytes and its HTTP."""

from __future__ import annotations

import copy
import gzip
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from support.fuzz.grammar import CANARY
from support.fuzz.message import Message, chunked
from support.fuzz.pools import (
    CHUNKS,
    DEEP,
    HEADS,
    IN_PATHS,
    KEYS,
    KINDS,
    LENGTHS,
    METHODS,
    NEAR,
    PIECES,
    TRAILERS,
    VALUES,
    VERSIONS,
)
from support.fuzz.tree import Pair, Pairs, escaped, objects, places

# -- values and structure --------------------------------------------------------------------------


def value(node: Any, numbers: Random) -> Any:
    """Another value somewhere."""
    holder = [node]
    container, index = numbers.choice([(holder, 0), *places(node)])
    leaves = [(c, i) for c, i in places(node) if not isinstance(c[i], list)]
    if leaves and numbers.random() < 0.85:
        container, index = numbers.choice(leaves)
    near = NEAR.get(type(container[index]), VALUES)
    container[index] = copy.deepcopy(numbers.choice(near if numbers.random() < 0.5 else VALUES))
    return holder[0]


def structure(node: Any, numbers: Random) -> Any:
    """Another shape somewhere."""
    holder = [node]
    container, index = numbers.choice([(holder, 0), *places(node)])
    there = container[index]
    match numbers.randrange(12):
        case 0 if type(container) is list and container is not holder:
            del container[index]
        case 1 if type(container) is list and container is not holder:
            container.insert(index, copy.deepcopy(there))
        case 2:
            container[index] = [there]
        case 3:
            container[index] = Pairs([Pair([numbers.choice(KEYS), there])])
        case 4 if isinstance(there, list) and there:
            inner = numbers.choice(there)
            container[index] = inner[1] if isinstance(inner, Pair) else inner
        case 5:
            other, place = numbers.choice([(holder, 0), *places(node)])
            container[index] = copy.deepcopy(other[place])
        case 6 if type(there) is list:
            numbers.shuffle(there)
        case _:
            _break_keys(node, numbers)
    return holder[0]


def _break_keys(node: Any, numbers: Random) -> None:
    found = objects(node)
    if not found:
        return
    pairs = numbers.choice(found)
    if not pairs:
        pairs.append(Pair([numbers.choice(KEYS), 1]))
        return
    pair = numbers.choice(pairs)
    match numbers.randrange(8):
        case 0:
            pairs.remove(pair)
        case 1:
            pairs.append(copy.deepcopy(pair))
        case 2:
            pairs.insert(0, Pair([pair[0], copy.deepcopy(numbers.choice(VALUES))]))
        case 3 if isinstance(pair[0], str):
            pairs.append(Pair([escaped(pair[0], numbers), copy.deepcopy(pair[1])]))
        case 4 if isinstance(pair[0], str):
            pair[0] = escaped(pair[0], numbers)
        case 5:
            pair[0] = numbers.choice(KEYS)
        case 6:
            numbers.shuffle(pairs)
        case _:
            pool = DEEP if numbers.random() < 0.5 else VALUES
            pairs.append(Pair([numbers.choice(KEYS), copy.deepcopy(numbers.choice(pool))]))


# -- bytes -----------------------------------------------------------------------------------------


def any_bytes(data: bytes, numbers: Random) -> bytes:  # noqa: PLR0911 - a way each
    """The same bytes with a fault."""
    at = numbers.randrange(len(data) + 1)
    end = min(len(data), at + numbers.choice([1, 1, 2, 4, 8, 40]))
    match numbers.randrange(9):
        case 0 if at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << numbers.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at]
        case 3:
            return data[:at] + data[at:end] * 2 + data[end:]
        case 4 if at < len(data):
            return data[:at] + numbers.choice(PIECES) + data[at + 1 :]
        case 5:
            return data + numbers.choice([b"\n", b" ", b"\0", b"x", b"{}", data])
        case 6:
            return data[:at] + numbers.randbytes(numbers.randrange(1, 9)) + data[end:]
        case 7 if data and numbers.random() < 0.3:
            return data.decode("utf-8", "replace").encode(
                numbers.choice(["utf-16", "utf-32", "utf-8-sig", "latin-1"]), "replace"
            )
        case _:
            return data[:at] + numbers.choice(PIECES) + data[at:]


def body(message: Message, numbers: Random) -> None:
    """A fault in the body, or a body in another coding."""
    if numbers.random() < 0.1:
        coding = numbers.choice(
            [b"gzip", b"br", b"deflate", b"identity", b"", b"GZIP", b"x", b"identity, gzip"]
        )
        if numbers.random() < 0.6:
            message.heads.append((b"content-encoding", coding))
        if b"gzip" in coding.lower() or numbers.random() < 0.2:
            message.body = gzip.compress(message.body, mtime=0)
        elif coding == b"deflate":
            message.body = zlib.compress(message.body)
        return
    message.body = any_bytes(message.body, numbers)


# -- HTTP ------------------------------------------------------------------------------------------


def _path(path: bytes, numbers: Random) -> bytes:
    at = numbers.randrange(1, len(path) + 1)
    match numbers.randrange(6):
        case 0:
            return path[:at] + numbers.choice(IN_PATHS) + path[at:]
        case 1:
            return path + numbers.choice(IN_PATHS)
        case 2 if at < len(path):
            return path[:at] + b"%%%02x" % path[at] + path[at + 1 :]
        case 3:
            return numbers.choice([b"http://server", b"//server", b"server:80", b"*"]) + path
        case 4:
            return path.upper()
        case _:
            return path + CANARY.encode() + b"/" + b"x" * numbers.choice([0, 3, 3000])


def http(message: Message, numbers: Random) -> None:
    """A fault in the request around the body, or another way to frame it."""
    match numbers.randrange(12):
        case 0:
            message.method = numbers.choice(METHODS)
        case 1:
            message.path = _path(message.path, numbers)
        case 2 if numbers.random() < 0.5:
            message.version = numbers.choice(VERSIONS)
        case 3:
            message.length = numbers.choice(
                [*LENGTHS, *(b"%d" % max(0, len(message.body) + n) for n in (-3, -1, 1, 9))]
            )
        case 4 if message.heads:
            name, old = numbers.choice(message.heads)
            message.heads.append((name.upper(), numbers.choice([old, b"", b"x", old + b"x"])))
        case 5 if message.heads:
            message.heads.remove(numbers.choice(message.heads))
        case 6:
            message.put(b"content-type", numbers.choice(KINDS))
        case 7 if numbers.random() < 0.2:
            message.line_end = b"\n"
        case 8 | 9:
            _chunk(message, numbers)
        case _:
            message.heads.insert(numbers.randrange(len(message.heads) + 1), numbers.choice(HEADS))


def _chunk(message: Message, numbers: Random) -> None:
    """The body in chunks, with a fault in the chunks now and then."""
    size = numbers.choice([1, 7, 64, 1000])
    parts = [message.body[n : n + size] for n in range(0, min(len(message.body), 200 * size), size)]
    message.chunks = chunked(parts) if len(message.body) <= 200 * size else chunked([message.body])
    message.trailer = numbers.choice(TRAILERS)
    if numbers.random() < 0.4:
        at = numbers.randrange(len(message.chunks))
        broken = [any_bytes(message.chunks[at], numbers), message.chunks[at].upper()]
        broken += [b"5;ext=1" + message.chunks[at][1:], b"0" * 20 + message.chunks[at]]
        message.chunks[at] = numbers.choice(broken + CHUNKS)


def on_tree(make: Callable[[Random], Any], numbers: Random) -> Any:
    """A document, broken once or a few times."""
    node = make(numbers)
    for _ in range(numbers.choice([1, 1, 1, 1, 2, 3])):
        node = numbers.choice([value, structure])(node, numbers)
    return node
