"""Where the requests of a stream begin and end, and the answers of another.

Requests are those that llhttp finds when it reads the stream in one piece. What is proved is what
the server makes of them in any pieces, not llhttp.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote

import httptools

UNREADABLE = b'{"type":"urn:modelyard:problem:not-http",'
"""How the body begins that answers what is no HTTP, whatever its method would be."""
_NO_CONTENT = 204


@dataclass
class Asked:
    """A request that was found in a stream."""

    method: bytes = b""
    url: bytes = b""
    path: str = ""
    version: str = "1.1"
    heads: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    has_heads: bool = False
    is_whole: bool = False
    keeps_alive: bool = False
    upgrades: bool = False

    def heads_of(self, name: bytes) -> list[bytes]:
        """The values of a header."""
        return [value for given, value in self.heads if given == name]

    def head(self, name: bytes) -> bytes | None:
        """The last value of a header."""
        return (self.heads_of(name) or [None])[-1]


@dataclass
class Found:
    """What is in a stream."""

    asked: list[Asked] = field(default_factory=list)
    is_broken: bool = False
    is_upgraded: bool = False

    @property
    def answers(self) -> int:
        """How many answers a connection that is read to its end has to give."""
        whole = [one for one in self.asked if one.is_whole]
        for place, one in enumerate(whole):
            if not one.keeps_alive:
                return place + 1
        return len(whole) + self.is_broken


class _Listener:
    def __init__(self, found: Found) -> None:
        self._found = found
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def on_message_begin(self) -> None:
        self._found.asked.append(Asked())

    def on_url(self, url: bytes) -> None:
        self._found.asked[-1].url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._found.asked[-1].heads.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        asked = self._found.asked[-1]
        asked.method, asked.version = self.parser.get_method(), self.parser.get_http_version()
        asked.keeps_alive = self.parser.should_keep_alive() and asked.version != "1.0"
        asked.upgrades = self.parser.should_upgrade()
        path = httptools.parse_url(asked.url).path  # what uvicorn asks, too, and what ends there
        asked.path = unquote(path.decode("ascii"))
        asked.has_heads = True

    def on_body(self, body: bytes) -> None:
        self._found.asked[-1].body += body

    def on_message_complete(self) -> None:
        self._found.asked[-1].is_whole = True


def requests_in(stream: bytes) -> Found:
    """The requests of a stream."""
    found = Found()
    listener = _Listener(found)
    try:
        listener.parser.feed_data(stream)
    except httptools.HttpParserUpgrade:
        found.is_upgraded = True
    except httptools.HttpParserError:
        found.is_broken = True
    return found


@dataclass(frozen=True)
class Answer:
    """An answer that was found on the wire."""

    status: int
    heads: dict[bytes, bytes]
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether it is the last one of its connection."""
        return self.heads.get(b"connection", b"").lower() == b"close"


class MalformedError(Exception):
    """The bytes are no answers; says why."""


def answers_in(data: bytes, asked: list[Asked]) -> tuple[list[Answer], bytes]:
    """The whole answers in `data`, and what is left; `asked` tells which have no body."""
    answers: list[Answer] = []
    place = 0
    while (end := data.find(b"\r\n\r\n", place)) >= 0:
        first, *lines = data[place:end].split(b"\r\n")
        words = first.split(b" ", 2)
        if words[0] != b"HTTP/1.1" or len(words) < 2 or not words[1].isdigit():
            raise MalformedError(f"no status line: {first[:60]!r}")
        status = int(words[1])
        if status == 100:
            place = end + 4
            continue
        heads: dict[bytes, bytes] = {}
        for line in lines:
            name, colon, value = line.partition(b": ")
            if not colon or name.lower() in heads:
                raise MalformedError(f"a header that is none, or stands twice: {line[:60]!r}")
            heads[name.lower()] = value
        length = heads.get(b"content-length", b"0" if status == _NO_CONTENT else b"")
        if not length.isdigit():
            raise MalformedError(f"an answer without a length: {status}")
        start = end + 4
        is_to_head = len(answers) < len(asked) and asked[len(answers)].method == b"HEAD"
        size = 0 if is_to_head and not data.startswith(UNREADABLE, start) else int(length)
        if len(data) < start + size:
            break
        answers.append(Answer(status, heads, data[start : start + size]))
        place = start + size
    return answers, data[place:]
